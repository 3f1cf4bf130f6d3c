"""Commands as jobs of a Ray cluster: what is sent (``project.py``), and the cluster's jobs (``cluster.py``)."""
