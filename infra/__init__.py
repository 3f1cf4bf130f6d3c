"""The ``motif`` command, and how motif runs on a cluster."""
