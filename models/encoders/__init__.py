"""Encoders from pictures and text to a network's inputs, and decoders from latents to pictures."""
