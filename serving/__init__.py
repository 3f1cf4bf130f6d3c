"""Model folders behind the video API: ``POST /v1/videos``, poll, download.

Read in this order: ``api.py`` (the routes), ``videos.py`` (what they do), ``store.py`` (the jobs), ``worker.py`` (who
generates), ``app.py`` (where it runs: Ray Serve; the only file here that imports Ray).
"""
