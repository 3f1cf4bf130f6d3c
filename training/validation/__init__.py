"""Held-out errors of runs, in moving regions and overall (MotiF, figure 6), and comparison of runs.

Axes: ``n`` clips, ``k`` timesteps, ``r`` resamples of the bootstrap.
"""
