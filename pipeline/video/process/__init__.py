"""Videos are opened in a process of their own, which may hang, crash or grow and is then replaced."""
