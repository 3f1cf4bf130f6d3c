"""Processes: tied to their parent, silent, or called for one thing."""
