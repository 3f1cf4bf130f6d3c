"""The motion focal loss (MotiF, equation 3): errors count more in moving regions.

L = mean(e^2) + lambda mean((m' e)^2), e the error of the prediction on the latent grid, m' the motion heatmap.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from diffusion.weighting import LossTerms, Weighting


@dataclass(frozen=True)
class MotionFocal(Weighting):
    """How the heatmap enters the loss.

    ``weight`` is lambda; ``power`` the power of m' that multiplies e^2, two in the paper; ``inverse`` uses 1 - m'
    instead of m' (an ablation of the paper).
    """

    weight: float = 1.0
    power: float = 2.0
    inverse: bool = False

    def __post_init__(self) -> None:
        """Check the settings."""
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"loss.weight {self.weight}: must be 0 (no motion loss) or more")
        if not 0 < self.power < float("inf"):
            raise ValueError(f"loss.power {self.power}: must be above 0; the paper uses 2")

    def weights(self, heatmap: Float[Tensor, "b t h w"]) -> Float[Tensor, "b 1 t h w"]:
        """The factor on e^2: m' or 1 - m', to the power."""
        map_ = 1 - heatmap if self.inverse else heatmap
        return (map_ if self.power == 1 else map_**self.power).unsqueeze(1)

    def __call__(
        self,
        error: Float[Tensor, "b c t h w"],
        heatmap: Float[Tensor, "b t h w"],
        latents: Float[Tensor, "b c t h w"],
    ) -> LossTerms:
        """``plain`` is mean(e^2), ``motion`` the weighted mean, which is also computed if lambda is 0."""
        del latents
        squared = error**2
        plain = squared.mean(dim=(1, 2, 3, 4))
        motion = (self.weights(heatmap) * squared).mean(dim=(1, 2, 3, 4))
        total = plain + self.weight * motion if self.weight else plain
        return LossTerms(total, {"plain": plain, "motion": motion})

    def formula(self) -> str:
        """The formula with the value of lambda."""
        return f"plain + {self.weight:g} x motion" if self.weight else "plain (without motion)"
