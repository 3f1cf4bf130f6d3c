"""Loss weightings: how much the error of each cell of a clip counts.

A new weighting is a file in this room and a line in :mod:`base.stored_types`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class LossTerms:
    """A loss ``[b]``, not reduced over the batch, and the named terms ``[b]`` that it is made of."""

    total: Float[Tensor, " b"]
    terms: dict[str, Float[Tensor, " b"]]


@dataclass(frozen=True)
class Weighting(ABC):
    """From the error of a prediction to a loss."""

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
        """The loss in the names of its terms, as a line of a run explains it."""
