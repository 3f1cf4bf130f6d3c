"""The motion focal loss (MotiF, equation 3): errors count more where something moves.

L = mean(e^2) + lambda mean((m' e)^2), e the error of the prediction on the latent grid, m' the motion heatmap there.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class LossTerms:
    """A loss and what it is the sum of, each ``[b]``, not reduced over the batch."""

    total: Float[Tensor, " b"]
    plain: Float[Tensor, " b"]
    motion: Float[Tensor, " b"]


@dataclass(frozen=True)
class MotionFocal:
    """How the heatmap enters the loss.

    ``weight`` is lambda; ``power`` the power of m' that multiplies e^2, two in the paper's formula; ``inverse`` takes
    1 - m' in place of m' (an ablation of the paper).
    """

    weight: float = 1.0
    power: float = 2.0
    inverse: bool = False

    def __post_init__(self) -> None:
        """Refuse weights that would reward errors."""
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"loss.weight {self.weight}: zero (no motion loss) or more")
        if not 0 < self.power < float("inf"):
            raise ValueError(f"loss.power {self.power}: above 0; the paper has 2")

    def weights(self, heatmap: Float[Tensor, "b t h w"]) -> Float[Tensor, "b 1 t h w"]:
        """The factor on e^2: m' or 1 - m', to the power."""
        map_ = 1 - heatmap if self.inverse else heatmap
        return (map_ if self.power == 1 else map_**self.power).unsqueeze(1)

    def __call__(self, squared: Float[Tensor, "b c t h w"], heatmap: Float[Tensor, "b t h w"]) -> LossTerms:
        """The loss of each sample from its squared errors; the motion term is computed also where lambda is 0."""
        plain = squared.mean(dim=(1, 2, 3, 4))
        motion = (self.weights(heatmap) * squared).mean(dim=(1, 2, 3, 4))
        total = plain + self.weight * motion if self.weight else plain
        return LossTerms(total, plain, motion)
