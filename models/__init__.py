"""What predicts: backbones, encoders, the model folder on disk, and the generator that samples from it."""
