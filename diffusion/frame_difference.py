"""A motion loss without a heatmap: errors of differences between neighbouring frames.

L = (1 - r) mean(e^2) + r mean((e_f - e_(f-1))^2), as in VideoX-Fun, with r = 0.25.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from diffusion.weighting import LossTerms, Weighting


@dataclass(frozen=True)
class FrameDifference(Weighting):
    """``share`` is r."""

    share: float = 0.25

    def __post_init__(self) -> None:
        """Check the share."""
        if not 0 <= self.share <= 1:
            raise ValueError(f"loss.share {self.share}: must be from 0 to 1")

    def __call__(
        self,
        error: Float[Tensor, "b c t h w"],
        heatmap: Float[Tensor, "b t h w"],
        latents: Float[Tensor, "b c t h w"],
    ) -> LossTerms:
        """``plain`` is mean(e^2), ``difference`` the same of frame differences; 0 for a single frame."""
        del heatmap, latents
        plain = (error**2).mean(dim=(1, 2, 3, 4))
        steps = error.diff(dim=2)
        difference = (steps**2).mean(dim=(1, 2, 3, 4)) if steps.shape[2] else plain * 0
        return LossTerms((1 - self.share) * plain + self.share * difference, {"plain": plain, "difference": difference})

    def formula(self) -> str:
        """The formula with the value of r."""
        return f"{1 - self.share:g} x plain + {self.share:g} x difference"
