"""The normalisation of motion by which a heatmap is made, as a configuration (MotiF section 3.2).

The heatmap itself is computed in :mod:`dataset.heatmap.heatmap`. This file loads no torch, so that commands can list
their options at once.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

Unit = Literal["diagonal", "short_side", "width", "pixels", "clip_max"]


@dataclass(frozen=True)
class Normalisation:
    """x = min(1, intensity / (fraction * unit)).

    The default, 0.15 of the frame's diagonal, is VideoJAM's: the sigmoid's centre is then at 4.5 pixels per frame for
    320 x 512, scales with resolution, and static clips stay dark. ``clip_max`` divides by the clip's greatest
    intensity, but by at least ``floor`` pixels (else a static clip would light up).
    """

    unit: Unit = "diagonal"
    fraction: float = 0.15
    floor: float = 1.0
    centre: float = 0.05
    slope: float = 100.0

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("fraction", "floor", "slope"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} {getattr(self, name)}: must be above 0")
        if not 0 <= self.centre <= 1:
            raise ValueError(f"centre {self.centre}: must be from 0 to 1, the range of x")

    def scale(self, height: int, width: int) -> float:
        """Pixels per unit of x for frames of this size; for ``clip_max`` the fraction of the maximum."""
        units = {
            "diagonal": math.hypot(height, width),
            "short_side": float(min(height, width)),
            "width": float(width),
            "pixels": 1.0,
            "clip_max": 1.0,
        }
        return self.fraction * units[self.unit]

    def identity(self) -> dict[str, Any]:
        """Everything that changes the heatmap; ``floor`` only if used."""
        fields = {"unit": self.unit, "fraction": self.fraction, "centre": self.centre, "slope": self.slope}
        return fields | ({"floor": self.floor} if self.unit == "clip_max" else {})


# Possible readings of the paper, compared by `motif calibrate`; the default first.
CONVENTIONS: dict[str, Normalisation] = {
    "0.15 diagonal": Normalisation(),
    "clip_max": Normalisation("clip_max", 1.0),
    "width": Normalisation("width", 1.0),
    "short_side": Normalisation("short_side", 1.0),
    "diagonal": Normalisation("diagonal", 1.0),
    "pixels": Normalisation("pixels", 1.0),
}
