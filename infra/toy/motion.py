"""Measures the direction of a sprite in a video, to check whether it moves as prompted."""

import numpy as np
from jaxtyping import Float, UInt8

from pipeline.sprites.world import DIRECTIONS

_LEAST = 24.0  # grey levels of 255: smaller changes are sampling noise in the background
_STILL = 0.004  # share of the frame: if less of it has changed, nothing has moved


def travel(frames: UInt8[np.ndarray, "t h w 3"], start: tuple[float, float]) -> Float[np.ndarray, " 2"] | None:
    """Displacement (y, x) in pixels of a sprite that begins at ``start``; None if nothing moves.

    The first frame differs from a later one where the sprite was and where it is now, so the centre of the difference
    lies half-way between. Averaged over the last third of the video. Unlike optical flow this needs no texture, of
    which a small model's sprites keep little.
    """
    first, last = frames[0].astype(np.float32), frames[-max(1, len(frames) // 3) :].astype(np.float32)
    changed = np.maximum(np.abs(last - first).mean(-1) - _LEAST, 0).mean(0)
    if (changed > 0).mean() < _STILL:
        return None
    rows, columns = (np.arange(side) + 0.5 for side in changed.shape)
    centre = np.array([changed.sum(1) @ rows, changed.sum(0) @ columns]) / changed.sum()
    return np.asarray(2 * (centre - np.array(start)), np.float32)


def direction(frames: UInt8[np.ndarray, "t h w 3"], start: tuple[float, float]) -> str:
    """The nearest of the sprites' eight directions; empty if nothing moves."""
    way = travel(frames, start)
    return "" if way is None else max(DIRECTIONS, key=lambda name: float(np.dot(way, DIRECTIONS[name])))
