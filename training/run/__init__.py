"""A training run around its loop: job, launch, resuming, tracking and checkpoints."""
