"""Encoders of whole videos, whose latents compress time: Wan's autoencoder, and a codec without weights like it."""
