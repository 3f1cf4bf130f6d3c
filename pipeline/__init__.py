"""Videos in, feature dataset out.

Read in this order: ``recipes`` (what a run computes), ``run`` (the order of a run), ``plan`` (what is done and what
is to do), ``graph`` (the Ray Data stages), ``dataset`` (what lies on disk). Axes: ``n`` clips, ``t`` frames,
``h w`` pixels or latent cells, ``c`` channels, ``l`` tokens, ``d`` width.
"""
