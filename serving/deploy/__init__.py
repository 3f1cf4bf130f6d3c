"""A server as a whole: its configuration, its processes, and the application on Ray Serve."""
