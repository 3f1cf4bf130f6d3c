"""A preprocessing run from its start to its account."""
