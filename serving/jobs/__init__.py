"""Jobs and their store."""
