"""The diffusion process apart from any network: noise schedule, training target, losses, DDIM, guidance.

Axes: b sample, c channel, t frame, h w latent grid.
"""
