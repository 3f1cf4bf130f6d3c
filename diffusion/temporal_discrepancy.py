"""Latent Temporal Discrepancy (arXiv 2601.20504): errors count more where the clean latents change, without a heatmap.

L = mean(w e^2). With d = |z_f - z_(f-1)| over channels, s = log1p(d / mean d) and w = 1 + alpha s / mean s, clipped and
scaled to a mean of 1 over the clip. This is our reading of the paper, not its code.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion.weighting import LossTerms, Weighting

_LOWEST, _HIGHEST = 0.5, 2.0


@dataclass(frozen=True)
class TemporalDiscrepancy(Weighting):
    """``alpha`` is how much change counts; 0 is the plain mean."""

    alpha: float = 1.0

    def __post_init__(self) -> None:
        """Check the value."""
        if not 0 <= self.alpha < float("inf"):
            raise ValueError(f"loss.alpha {self.alpha}: must be 0 (the plain mean) or more")

    def weights(self, latents: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b 1 t h w"]:
        """The factor on e^2, with a mean of 1. The first frame has no change; a clip without any has ones."""
        moved = torch.linalg.vector_norm(latents.diff(dim=2), dim=1, keepdim=True)
        change = torch.cat([torch.zeros_like(latents[:, :1, :1]), moved], dim=2)
        scaled = torch.log1p(change / _mean(change))
        weights = (1 + self.alpha * scaled / _mean(scaled)).clamp(_LOWEST, _HIGHEST)
        return weights / _mean(weights)

    def __call__(
        self,
        error: Float[Tensor, "b c t h w"],
        heatmap: Float[Tensor, "b t h w"],
        latents: Float[Tensor, "b c t h w"],
    ) -> LossTerms:
        """``plain`` is mean(e^2), ``weighted`` the loss."""
        del heatmap
        squared = error**2
        weighted = (self.weights(latents) * squared).mean(dim=(1, 2, 3, 4))
        return LossTerms(weighted, {"plain": squared.mean(dim=(1, 2, 3, 4)), "weighted": weighted})

    def formula(self) -> str:
        """The formula with the value of alpha."""
        return f"weighted (alpha {self.alpha:g})"


def _mean(values: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b 1 1 1 1"]:
    """The mean over a clip; where it is 0, a tiny number to divide by."""
    return values.mean(dim=(1, 2, 3, 4), keepdim=True).clamp(min=1e-12)
