"""The demo: the whole way on generated videos, and a page that shows it.

``settings`` (where things lie, and whether they are of this demo), ``steps`` (videos, features, training), ``samples``
(videos of what no training has seen), ``curve`` (the loss as SVG), ``page`` (all of it on one page).
"""
