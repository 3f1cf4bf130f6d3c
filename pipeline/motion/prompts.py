"""Point prompts for a mask model, where a clip begins to move (MotiF, appendix A.1)."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

Points = Int[np.ndarray, "k 2"]
"""Pixels of a clip's first frame, x before y; each prompts an object of its own."""


@dataclass(frozen=True)
class Prompts:
    """The strongest pixels of the cells that move most, at most ``most`` of a grid of ``rows`` x ``columns`` cells.

    A cell counts only if a pixel of it moves by at least ``least`` of the frame's diagonal (1.2 pixels a frame for
    320 x 512); so a static clip has no prompts. This minimum is ours: the paper always takes five.
    """

    rows: int = 5
    columns: int = 5
    most: int = 5
    least: float = 0.002

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("rows", "columns", "most"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: must be at least 1")
        if not self.least > 0:
            raise ValueError(f"least {self.least}: must be above 0")

    def identity(self) -> dict[str, Any]:
        """Grid, number and minimum."""
        return {"rows": self.rows, "columns": self.columns, "most": self.most, "least": self.least, "version": 1}

    def find(self, intensity: Float[np.ndarray, "h w"]) -> Points:
        """The prompts of a clip, those of the liveliest cell first, from the flow's length in its first step, pixels.

        Empty if nothing moves. Of equal cells or pixels, the first in rows from the top counts.
        """
        least = self.least * math.hypot(*intensity.shape)
        found = []
        for rows in _cuts(intensity.shape[0], self.rows):
            for columns in _cuts(intensity.shape[1], self.columns):
                cell = intensity[rows, columns]
                y, x = np.unravel_index(cell.argmax(), cell.shape)
                if cell[y, x] >= least:
                    found.append((cell.mean(dtype=np.float64), columns.start + x, rows.start + y))
        found.sort(key=lambda one: -one[0])
        return np.array([point for _, *point in found[: self.most]], np.int64).reshape(-1, 2)


def _cuts(size: int, count: int) -> Iterator[slice]:
    """``count`` neighbouring intervals that cover ``size`` pixels; their lengths differ by at most one."""
    edges = np.linspace(0, size, count + 1).round().astype(int).tolist()
    return (slice(low, high) for low, high in itertools.pairwise(edges))
