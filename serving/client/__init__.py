"""A client of the server, in Python. It needs neither torch nor Ray."""
