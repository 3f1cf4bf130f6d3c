"""Training, from feature dataset to model folder: recipes, data, loop, checkpoints, validation, launch on Ray Train.

Axes: b sample, c latent channel, t frame, h w latent grid, l text token, d text width.
"""
