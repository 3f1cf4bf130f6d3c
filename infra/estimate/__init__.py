"""The estimate of ``motif estimate``: hours, bytes and money of preprocessing and training, and how each is known.

``measured`` (figures of our benchmarks), ``preprocessing`` and ``training`` (rows from them and from counted FLOPs and
bytes), ``rows`` (what a row is, and totals), ``prices`` (the price table, ``prices.json``).
"""
