"""The page of ``motif inspect``: one self-contained HTML file that shows what a dataset holds.

``choose`` (which clips), ``pictures`` (posters, videos, overlays), ``charts`` (SVG), ``page`` (all of it on one page).
"""
