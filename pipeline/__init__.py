"""Preprocessing, from videos to a feature dataset.

Read in this order: ``recipes`` (what a run computes), ``run`` (the order of a run), ``plan`` (the remaining
work), ``graph`` (the Ray Data stages), ``dataset`` (the files on disk). Axes: ``n`` clips, ``t`` frames,
``h w`` pixels or latent cells, ``c`` channels, ``l`` tokens, ``d`` width.
"""
