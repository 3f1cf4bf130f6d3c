"""A training run around its loop: what it is, how it is launched, resumed, watched and saved."""
