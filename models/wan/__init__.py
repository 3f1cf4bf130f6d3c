"""Wan: diffusers' WanTransformer3DModel as a backbone."""
