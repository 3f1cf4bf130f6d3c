"""Point prompts for a mask model, where a clip begins to move (MotiF, appendix A.1)."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

Points = Int[np.ndarray, "_ 2"]
"""Pixels of a clip's first frame, x before y; each prompts an object of its own."""


@dataclass(frozen=True)
class Prompts:
    """The strongest pixels of the cells that move most, at most ``most`` of a grid of ``rows`` x ``columns`` cells.

    Two rules are ours, since the paper always takes five. A pixel counts only if it moves by at least ``least`` of the
    frame's diagonal (1.2 pixels a frame for 320 x 512); so a static clip has no prompts. And it must move by at least
    ``share`` of the most within ``around`` diagonals of it, each averaged over a square half as wide: less is the edge
    of what moves, where an estimated flow bleeds into what does not. Without this rule (``around`` 0), up to a third of
    the clips of ``benchmarks/prompts.py`` have a prompt beside the mover.
    """

    rows: int = 5
    columns: int = 5
    most: int = 5
    least: float = 0.002
    around: float = 0.02
    share: float = 0.9

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("rows", "columns", "most"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: must be at least 1")
        if not self.least > 0:
            raise ValueError(f"least {self.least}: must be above 0")
        for name in ("around", "share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)}: must be from 0 to 1")

    def identity(self) -> dict[str, Any]:
        """All settings."""
        return {**asdict(self), "version": 1}

    def find(self, intensity: Float[np.ndarray, "h w"]) -> Points:
        """The prompts of a clip, those of the liveliest cell first, from the flow's length in its first step, pixels.

        Empty if nothing moves. Of equal cells or pixels, the first in rows from the top counts.
        """
        strength = self._strength(intensity)
        found = []
        for rows in _cuts(intensity.shape[0], self.rows):
            for columns in _cuts(intensity.shape[1], self.columns):
                cell = strength[rows, columns]
                y, x = np.unravel_index(cell.argmax(), cell.shape)
                if cell[y, x] > 0:
                    mean = intensity[rows, columns].mean(dtype=np.float64)
                    found.append((mean, columns.start + x, rows.start + y))
        found.sort(key=lambda one: -one[0])
        return np.array([point for _, *point in found[: self.most]], np.int64).reshape(-1, 2)

    def _strength(self, intensity: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
        """The averaged length where a pixel counts, else 0."""
        import cv2  # which a plan does without

        diagonal = math.hypot(*intensity.shape)
        reach = round(self.around * diagonal)
        window = 2 * ((reach + 1) // 2) + 1
        averaged = cv2.blur(intensity, (window, window))
        most = cv2.dilate(averaged, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
        counts = averaged >= np.maximum(self.least * diagonal, self.share * most)
        return np.asarray(np.where(counts, averaged, 0), np.float32)


def _cuts(size: int, count: int) -> Iterator[slice]:
    """``count`` neighbouring intervals that cover ``size`` pixels; their lengths differ by at most one."""
    edges = np.linspace(0, size, count + 1).round().astype(int).tolist()
    return (slice(low, high) for low, high in itertools.pairwise(edges))
