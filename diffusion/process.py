"""The interface of diffusion processes: how clips become noise, what a network predicts, and how to sample.

A new process is a file in this package and a line in :mod:`base.stored_types`, whose name recipes, checkpoints and
model folders use.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from diffusion.options import Sampling


@runtime_checkable
class Sampler(Protocol):
    """Samples from noise to a clip, for one set of options."""

    @property
    def times(self) -> Tensor:
        """The times at which the network is evaluated, from noise to clip."""

    def step(
        self,
        number: int,
        predicted: Float[Tensor, "b c t h w"],
        sample: Float[Tensor, "b c t h w"],
        noise: Tensor | None,
    ) -> Float[Tensor, "b c t h w"]:
        """From the sample at time ``number`` to the next one; ``noise`` is added there if eta is not 0."""


@dataclass(frozen=True)
class Process(ABC):
    """How clips become noise. Times run from 0 (clean) to ``steps`` (noise) and are the network's timesteps."""

    steps: int = 1000

    @abstractmethod
    def draw_time(self, rng: np.random.Generator) -> float:
        """The time of one training sample: an integer, or a float, of the same type in every call."""

    @abstractmethod
    def noised(
        self, x0: Float[Tensor, "b c t h w"], noise: Float[Tensor, "b c t h w"], time: Shaped[Tensor, " b"]
    ) -> Float[Tensor, "b c t h w"]:
        """x_t."""

    @abstractmethod
    def target(
        self, x0: Float[Tensor, "b c t h w"], noise: Float[Tensor, "b c t h w"], time: Shaped[Tensor, " b"]
    ) -> Float[Tensor, "b c t h w"]:
        """The network's target for x_t."""

    def noise_level(self, time: Shaped[Tensor, " n"]) -> Float[Tensor, " n"]:
        """How noisy x_t is, from 0 (the clip) to 1 (noise), float64: the noise's factor over the sum of both factors.

        That is sigma / (1 + sigma) of the noise-to-signal ratio sigma by which Karras et al. 2022 measure it.
        """
        none = torch.zeros(len(time), 1, 1, 1, 1, dtype=torch.float64)
        signal, noise = self.noised(none + 1, none, time), self.noised(none, none + 1, time)
        return (noise / (signal + noise)).flatten().clamp(0, 1)

    @property
    @abstractmethod
    def predicts(self) -> str:
        """The name of the target."""

    @abstractmethod
    def sampler(self, options: Sampling) -> Sampler:
        """A sampler; InputError if the process does not support the options."""

    @abstractmethod
    def check(self, options: Sampling) -> None:
        """InputError if the process does not support the options."""

    @abstractmethod
    def scheduler_config(self) -> dict[str, Any]:
        """The same process as diffusers' scheduler config, ``_class_name`` first."""
