"""The random numbers of one training sample: they depend only on (seed, step, place in the global batch).

So a resumed run, or one with another number of workers, sees the same noise on the same clips. Drawn on the CPU, so
that a seed gives the same numbers on every device.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from diffusion.process import Process

_STREAM = 3


@dataclass(frozen=True)
class Draws:
    """Time of the process, noise on the latents, noise of the posterior, and whether the text is dropped."""

    timestep: float
    noise: Float[Tensor, "c t h w"]
    posterior: Float[Tensor, "c t h w"]
    drop_text: bool


def draw(key: tuple[int, int, int], shape: tuple[int, ...], process: Process, text_dropout: float) -> Draws:
    """Draw for a ``key`` of (seed, step, place); ``shape`` is the latent's."""
    rng = np.random.default_rng([key[0], _STREAM, *key[1:]])
    timestep, dropped = process.draw_time(rng), bool(rng.random() < text_dropout)
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    noise, posterior = torch.randn((2, *shape), generator=generator)
    return Draws(timestep, noise, posterior, dropped)


def layer_seed(seed: int, step: int, rank: int, micro: int) -> int:
    """The seed of dropout inside the network for one forward pass of one worker."""
    return int(np.random.default_rng([seed, _STREAM + 1, step, rank, micro]).integers(2**63))
