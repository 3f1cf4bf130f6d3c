"""The mathematics: noise schedules, loss weightings, samplers and guidance. No files and no networks.

Axes have the same names everywhere in this project: ``n`` clips, ``b`` batch, ``c`` channels, ``t`` frames,
``h w`` rows and columns (of pixels, or of latent cells if noted), ``l`` tokens, ``d`` width.
"""
