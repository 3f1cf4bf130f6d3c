"""Held-out errors of runs, where things move and overall (MotiF, figure 6), and runs side by side.

Axes: ``n`` clips, ``k`` timesteps, ``r`` resamples of the bootstrap.
"""
