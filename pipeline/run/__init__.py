"""A preprocessing run, from planning to its final account."""
