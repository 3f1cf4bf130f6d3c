"""Adapters: a few tensors that are trained instead of a network's own, which stay as they are.

``lora`` is the setting of a recipe, ``attach`` adds it to a network, ``files`` writes it in diffusers' names, reads it
and merges it. Nothing else in motif knows how an adapter works.
"""
