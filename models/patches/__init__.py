"""A small transformer over space-time patches: the smallest backbone, and a template for new ones."""
