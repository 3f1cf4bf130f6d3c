"""The demo: the whole workflow on generated videos, and a page that shows it.

``settings`` (paths, and whether files belong to this demo), ``steps`` (videos, features, training), ``samples`` (videos
of held-out pictures), ``curve`` (the loss as a chart), ``page`` (everything on one page).
"""
