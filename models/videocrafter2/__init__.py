"""VideoCrafter2's U-Net (512 x 320), with an image condition beside the text, and its checkpoint as a model folder.

``unet`` is the network, ``resampler`` turns an image's tokens into tokens of cross-attention, ``estimate`` counts
parameters, FLOPs and bytes on the meta device. ``names`` tells by rule what a tensor is called in the checkpoint and
here, ``checkpoint`` reads the file and holds it against what is expected, ``convert`` writes the folder.
"""
