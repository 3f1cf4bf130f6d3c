"""Pure PyTorch, no Ray: encoders, codecs, weights, video files, and the storage they are read from.

Axes have the same names everywhere in this project: ``n`` clips, ``b`` batch, ``c`` channels, ``t`` frames,
``h w`` rows and columns (of pixels, or of latent cells where said), ``l`` tokens, ``d`` width.
"""
