"""Foundations of all other packages: errors, stored configurations, storage, weights files, the Ray session.

It imports none of them.
"""
