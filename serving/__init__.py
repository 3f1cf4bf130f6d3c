"""Model folders behind the video API: ``POST /v1/videos``, poll, download.

Read in this order: ``api.py`` (the routes), ``videos.py`` (what they do), ``store.py`` (the jobs), ``worker.py``
(generation), ``app.py`` (the Ray Serve application; the only file here that imports Ray).
"""
