"""The page of ``motif inspect``: one self-contained HTML file about a dataset.

``choose`` (which clips), ``pictures`` (posters, videos, overlays), ``charts`` (SVG), ``page`` (the whole page).
"""
