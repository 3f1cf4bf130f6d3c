"""A small transformer over space-time patches: the smallest backbone, and the one to copy for a new one."""
