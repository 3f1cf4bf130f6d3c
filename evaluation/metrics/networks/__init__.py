"""The networks of the metrics: what each computes from frames, and how its weights are opened.

A frame's features do not depend on the other frames, but for rounding.
"""
