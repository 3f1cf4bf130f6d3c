"""Automatic metrics of generated videos, each beside its value for the static baseline: the first frame repeated.

``formulas`` know neither networks nor files; ``networks`` compute what the formulas need from frames; ``registry`` says
which metric needs what. Axes: ``t`` frames, ``s`` pairs of neighbouring frames, ``d`` features, ``n`` videos.
"""
