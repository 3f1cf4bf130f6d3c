"""How well a shape, or the background, fits each position of a frame: squared differences of colours, 0 to 1."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from pipeline.sprites.render import lay
from pipeline.sprites.world import Sprite

SHORT = 64
"""Short side to which frames are shrunk: small models' videos have little detail beyond."""
MARGIN = 16
"""Positions beyond each edge of the frame, where shapes may be."""
_BLUR = 1.0


def shrink(frames: UInt8[np.ndarray, "t height width 3"]) -> Float32[np.ndarray, "t h w 3"]:
    """Frames at the size of matching, 0 to 1."""
    height, width = frames.shape[1:3]
    scale = SHORT / min(height, width)
    return np.stack([_small(frame.astype(np.float32) / 255, scale) for frame in frames])


def _small(picture: np.ndarray, scale: float) -> np.ndarray:
    height, width = picture.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.GaussianBlur(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), (0, 0), _BLUR))


@dataclass(frozen=True)
class Look:
    """A shape at the size of matching: colours, and the weight of each pixel, around its centre's pixel."""

    colour: Float32[np.ndarray, "s s 3"]
    weight: Float32[np.ndarray, "s s"]

    @classmethod
    def of(cls, sprite: Sprite, size: tuple[int, int]) -> "Look":
        """As it is painted in frames of ``size`` (height, width); at its first centre, or in the middle if outside."""
        height, width = size
        short = min(size)
        scale = SHORT / short
        y, x = (c * short for c in sprite.centre)
        if not (0 <= y < height and 0 <= x < width):
            y, x = height / 2, width / 2
        paint, cover = lay(sprite, (y, x), sprite.reach * short, size)
        small = _small(np.concatenate([paint * cover[..., None] / 255, cover[..., None]], axis=-1), scale)
        half = math.ceil(sprite.reach * SHORT) + 2
        top, left = (math.floor(value * scale) for value in (y, x))
        wide = np.pad(small, ((half, half), (half, half), (0, 0)))[top : top + 2 * half + 1, left : left + 2 * half + 1]
        weight = np.where(wide[..., 3] > 0.5, wide[..., 3], 0).astype(np.float32)
        return cls((wide[..., :3] / np.maximum(wide[..., 3:], 1e-3)).astype(np.float32), weight)


def start_of(sprite: Sprite) -> tuple[int, int]:
    """The position (with the margin) of a sprite's first centre."""
    y, x = sprite.centre
    return math.floor(y * SHORT) + MARGIN, math.floor(x * SHORT) + MARGIN


def fit_shape(
    frame: Float32[np.ndarray, "h w 3"], seen: Bool[np.ndarray, "h w"], look: Look
) -> tuple[Float32[np.ndarray, "y x"], Float32[np.ndarray, "y x"]]:
    """The mean squared difference of a shape at each position, and which share of the shape is seen there.

    ``seen`` are the frame's pixels that count.
    """
    half = look.weight.shape[0] // 2
    pad = MARGIN + half
    valid = np.pad(seen.astype(np.float32), pad)
    colours = np.pad(frame, ((pad, pad), (pad, pad), (0, 0))) * valid[..., None]
    weight = look.weight
    sums = _correlate((colours**2).sum(-1), weight) + _correlate(valid, weight * (look.colour**2).sum(-1))
    for channel in range(3):
        sums -= 2 * _correlate(colours[..., channel], weight * look.colour[..., channel])
    share = _correlate(valid, weight)
    cost = np.maximum(sums, 0) / np.maximum(3 * share, 1e-6)
    inner = slice(half, -half)
    return cost[inner, inner], (share / weight.sum())[inner, inner]


def _correlate(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.filter2D(picture, cv2.CV_32F, kernel, borderType=cv2.BORDER_CONSTANT))


def relative_cost(
    fit: tuple[Float32[np.ndarray, "y x"], Float32[np.ndarray, "y x"]], contrast: float, unseen: float
) -> Float32[np.ndarray, "y x"]:
    """Cost of a path at each position, 0 to 1: the difference in units of ``contrast``, and ``unseen`` for the rest.

    ``fit`` is the difference, and the share of the shape or of the background that is seen at a position.
    """
    difference, share = fit
    return (share * np.minimum(1, difference / contrast) + (1 - share) * unseen).astype(np.float32)


def fit_background(
    first: Float32[np.ndarray, "h w 3"],
    free: Bool[np.ndarray, "h w"],
    frame: Float32[np.ndarray, "h w 3"],
    seen: Bool[np.ndarray, "h w"],
    most: int,
) -> tuple[Float32[np.ndarray, "y x"], Float32[np.ndarray, "y x"]]:
    """The mean squared difference of a frame's background from the first one's, moved by -most to ``most`` pixels.

    ``free`` and ``seen`` are the pixels of the two that count. Also returns which share of the first ones overlaps.
    """
    height, width = free.shape
    size = (height + 2 * most, width + 2 * most)

    def spectrum(picture: np.ndarray) -> np.ndarray:
        return np.fft.rfft2(picture, size, axes=(0, 1))

    ours, theirs = free.astype(np.float64), seen.astype(np.float64)
    old, new = spectrum(first * ours[..., None]), spectrum(frame * theirs[..., None])
    old_squares, new_squares = (
        spectrum((picture.astype(np.float64) ** 2).sum(-1) * mask) for picture, mask in ((first, ours), (frame, theirs))
    )
    mask, other = spectrum(ours), spectrum(theirs)
    product = np.conj(mask) * new_squares + np.conj(old_squares) * other - 2 * (np.conj(old) * new).sum(-1)
    sums, counts = (np.fft.irfft2(value, size) for value in (product, np.conj(mask) * other))
    rows, columns = (np.arange(-most, most + 1) % length for length in size)
    sums, counts = (value[np.ix_(rows, columns)] for value in (sums, counts))
    share = np.clip(counts / max(float(ours.sum()), 1e-6), 0, 1)
    return (np.maximum(sums, 0) / np.maximum(3 * counts, 1e-6)).astype(np.float32), share.astype(np.float32)
