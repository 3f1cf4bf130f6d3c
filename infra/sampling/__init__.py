"""What `motif sample` does: its options, the videos it plans, and the run that makes them."""
