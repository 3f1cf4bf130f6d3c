"""Shares, their intervals and tests, and the agreement of raters. Nothing here knows a study.

Axes: ``n`` items (pairs of videos), ``k`` categories, ``c`` clusters (scenes), ``r`` resamples of the bootstrap.
"""
