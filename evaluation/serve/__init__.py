"""Collects the votes of a study: a web page for raters, and the database behind it.

Read in this order: ``app.py`` (the routes), ``store.py`` (raters, tasks, votes), ``assign.py`` (who gets which task).
"""
