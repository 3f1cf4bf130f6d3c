"""What a diffusion process is to all other code: how clips become noise, what a network is asked for, and the way back.

A new process is a file in this room and a line in :mod:`base.stored_types`. Recipes, checkpoints and model folders name
it by that line.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Shaped
from torch import Tensor

from diffusion.options import Sampling


@runtime_checkable
class Sampler(Protocol):
    """The way from noise to a clip, for one set of options."""

    @property
    def times(self) -> Tensor:
        """The times at which the network is asked, from noise to clip."""

    def step(
        self,
        number: int,
        predicted: Float[Tensor, "b c t h w"],
        sample: Float[Tensor, "b c t h w"],
        noise: Tensor | None,
    ) -> Float[Tensor, "b c t h w"]:
        """From the sample at time ``number`` to the next one; ``noise`` is what eta adds there, if anything."""


@dataclass(frozen=True)
class Process(ABC):
    """How clips become noise. Times run from 0 (clean) to ``steps`` (noise) and are what the network is told."""

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
        """What the network is to predict from x_t."""

    @property
    @abstractmethod
    def predicts(self) -> str:
        """The name of the target."""

    @abstractmethod
    def sampler(self, options: Sampling) -> Sampler:
        """A sampler; InputError where these options cannot sample this process."""

    @abstractmethod
    def check(self, options: Sampling) -> None:
        """InputError where these options cannot sample this process."""

    @abstractmethod
    def scheduler_config(self) -> dict[str, Any]:
        """The same process as diffusers' scheduler config, ``_class_name`` first."""
