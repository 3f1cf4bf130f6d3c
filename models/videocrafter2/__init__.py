"""VideoCrafter2's U-Net (512 x 320), with an image condition in addition to text, and the conversion of its checkpoint.

``unet`` is the network, ``resampler`` turns image tokens into cross-attention tokens. ``names`` maps tensor names
between the checkpoint and here, ``checkpoint`` reads and checks the file, ``convert`` writes the model folder.
"""
