"""The video U-Net: VideoCrafter2's, with an image condition beside the text, and what it costs to train one.

``model`` is the network, ``resampler`` turns an image's tokens into tokens of cross-attention, ``estimate`` counts
parameters, FLOPs and bytes on the meta device.
"""
