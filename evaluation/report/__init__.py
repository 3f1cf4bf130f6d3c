"""The page of ``motif report``: training runs, and what was measured of their models, in one self-contained file.

``run`` (what a run's folder records), ``results`` (what other commands measured), ``sections`` (the parts of the page),
``report`` (all of them together), ``page`` and ``svg`` (as HTML). Sections are plain text and numbers until they are
drawn, and only the page escapes.
"""
