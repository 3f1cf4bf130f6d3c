"""The stages of the graph as plain functions of tables: probe, decode, featurize, write. No Ray here.

Every stage returns one row per input row. A failed row carries ``stage``, ``error_class`` and ``message`` from then on
and passes later stages unchanged. A row without a slot pads a short part.
"""
