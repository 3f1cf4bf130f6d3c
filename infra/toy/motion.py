"""Which way a sprite goes in a video, so that a page or a test can say whether it does what its sentence asks for."""

import numpy as np
from jaxtyping import Float, UInt8

from pipeline.sprites.world import DIRECTIONS

_LEAST = 24.0  # grey levels of 255: less is what sampling leaves of a background that should stand still
_STILL = 0.004  # share of the frame: where less of it has changed, nothing has moved


def travel(frames: UInt8[np.ndarray, "t h w 3"], start: tuple[float, float]) -> Float[np.ndarray, " 2"] | None:
    """How far a sprite has come that begins at ``start``, (y, x) in pixels; None where nothing moves.

    What differs between the first frame and a later one is the place that the sprite has left and the one that it has
    reached, so the centre of the difference lies half-way between. Taken over the last third of the video. Unlike
    optical flow this asks for no texture, of which a small model's sprites keep little.
    """
    first, last = frames[0].astype(np.float32), frames[-max(1, len(frames) // 3) :].astype(np.float32)
    changed = np.maximum(np.abs(last - first).mean(-1) - _LEAST, 0).mean(0)
    if (changed > 0).mean() < _STILL:
        return None
    rows, columns = (np.arange(side) + 0.5 for side in changed.shape)
    centre = np.array([changed.sum(1) @ rows, changed.sum(0) @ columns]) / changed.sum()
    return np.asarray(2 * (centre - np.array(start)), np.float32)


def direction(frames: UInt8[np.ndarray, "t h w 3"], start: tuple[float, float]) -> str:
    """Which of the eight directions of the sprites' world that is; empty where nothing moves."""
    way = travel(frames, start)
    return "" if way is None else max(DIRECTIONS, key=lambda name: float(np.dot(way, DIRECTIONS[name])))
