"""What a study compares: the same training run with another weighting of the loss, or another image condition."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from diffusion.frame_difference import FrameDifference
from diffusion.motion_focal import MotionFocal
from diffusion.temporal_discrepancy import TemporalDiscrepancy
from diffusion.weighting import Weighting
from models.videocrafter2.backbone import VideoCrafter2
from training.recipes import Train

REFERENCE = "motif"
"""The arm that the others are compared with, as in the paper's tables."""


@dataclass(frozen=True)
class Arm:
    """A change of the size's recipe.

    ``paper`` is the table of the paper that has it, and ``published`` the share of raters' votes there for MotiF
    against it, in per cent.
    """

    name: str
    about: str
    change: Callable[[Train], Train]
    paper: str = ""
    published: float | None = None


def _loss(weighting: Weighting) -> Callable[[Train], Train]:
    return lambda recipe: replace(recipe, loss=weighting)


def _image(condition: Literal["cx-attn", "both"]) -> Callable[[Train], Train]:
    def change(recipe: Train) -> Train:
        assert isinstance(recipe.network, VideoCrafter2), "only this backbone has these conditions"
        network = replace(recipe.network, image_condition=condition)
        return replace(recipe, network=network, loss=MotionFocal())

    return change


ARMS = {
    arm.name: arm
    for arm in (
        Arm("none", "no motion loss: mean(e²)", _loss(MotionFocal(weight=0.0)), "table 2", 63.1),
        Arm(REFERENCE, "MotiF: mean(e²) + mean((m' e)²), x-cat", _loss(MotionFocal())),
        Arm("inverse", "1 - m' in place of m'", _loss(MotionFocal(inverse=True)), "table 2", 61.9),
        Arm("lambda-0.5", "lambda 0.5", _loss(MotionFocal(weight=0.5)), "table A2", 66.6),
        Arm("lambda-2", "lambda 2", _loss(MotionFocal(weight=2.0)), "table A2", 63.8),
        Arm("lambda-5", "lambda 5", _loss(MotionFocal(weight=5.0)), "table A2", 65.6),
        Arm("ltd", "weight by the change of the clean latents (LTD, our reading)", _loss(TemporalDiscrepancy())),
        Arm("delta", "0.75 mean(e²) + 0.25 mean of squared differences of e between frames", _loss(FrameDifference())),
        Arm("both", "image by x-cat and cross-attention", _image("both"), "table 3", 58.1),
        Arm("cx-attn", "image by cross-attention alone", _image("cx-attn"), "table 3", 92.2),
    )
}
"""By name, the most important first."""
MAIN = ("none", REFERENCE, "inverse")
"""Those that the paper's claim rests on. All of their runs come before any of another arm."""
