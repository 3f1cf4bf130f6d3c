"""Models: backbones, encoders, the model folder on disk, and the generator that samples from it."""
