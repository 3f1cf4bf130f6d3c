"""Part files: columns and tensors, sealing on write, and checks on read."""
