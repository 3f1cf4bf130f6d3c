"""Feature dataset in, model folder out: recipes, data, the loop, checkpoints, validation, the launch on Ray Train.

Axes: b sample, c latent channel, t frame, h w latent grid, l text token, d text width.
"""
