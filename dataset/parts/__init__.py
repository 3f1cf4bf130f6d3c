"""Part files: their columns and tensors, how they are sealed when written, and checked when read."""
