"""Loss weightings: how much each latent cell's error counts.

A new weighting is a file in this package and a line in :mod:`base.stored_types`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class LossTerms:
    """A loss ``[b]``, not reduced over the batch, and its named terms ``[b]``."""

    total: Float[Tensor, " b"]
    terms: dict[str, Float[Tensor, " b"]]


@dataclass(frozen=True)
class Weighting(ABC):
    """Turns prediction errors into a loss."""

    @abstractmethod
    def __call__(
        self,
        error: Float[Tensor, "b c t h w"],
        heatmap: Float[Tensor, "b t h w"],
        latents: Float[Tensor, "b c t h w"],
    ) -> LossTerms:
        """The loss of each clip.

        ``error`` is target minus prediction, ``heatmap`` the motion in 0 to 1 on the latent grid, ``latents`` the
        clean clip.
        """

    @abstractmethod
    def formula(self) -> str:
        """The loss as a formula of its terms, to explain a run's output."""
