"""TI2V-Bench: 320 pairs of an image and a prompt, and a model's videos of all of them.

``dataset`` reads and checks the pairs; ``generate`` makes a model's videos, ``on_ray`` on many GPUs; ``others`` accepts
videos of other models; ``tables`` writes what metrics and studies read; ``stand_in`` makes a dataset of the same shape.
"""
