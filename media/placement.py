"""The placement of a frame: rotate, scale to cover the target, crop the centre."""

import struct
from dataclasses import dataclass
from math import hypot
from typing import Any, cast

from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

_MATRIX = struct.Struct("=9i")
_SLANT = 0.02
"""Tolerance for the cosine or sine of a quarter turn that should be 0."""


@dataclass(frozen=True)
class Placement:
    """How a stored frame becomes a training frame: scale to ``scaled``, rotate by ``turns`` x 90 degrees, crop.

    ``scaled`` (height, width) is before the rotation; ``top``/``left`` are after it.
    """

    scaled: tuple[int, int]
    turns: int
    top: int
    left: int


def place(stored: tuple[int, int], pixel_aspect: float, turns: int, target: tuple[int, int]) -> Placement:
    """Resize the short side to cover, then centre crop.

    Args:
        stored: height and width of the stored frame.
        pixel_aspect: width of a stored pixel over its height.
        turns: quarter turns anticlockwise that bring the stored frame upright.
        target: height and width of the result.
    """
    height, width = float(stored[0]), stored[1] * pixel_aspect
    if turns % 2:
        height, width = width, height
    scale = max(target[0] / height, target[1] / width)
    upright = (max(target[0], round(height * scale)), max(target[1], round(width * scale)))
    top, left = (upright[0] - target[0]) // 2, (upright[1] - target[1]) // 2
    scaled = (upright[1], upright[0]) if turns % 2 else upright
    return Placement(scaled, turns % 4, top, left)


def quarter_turns(frame: VideoFrame) -> int:
    """Quarter turns anticlockwise that bring a stored frame upright, from its display matrix."""
    return round(frame.rotation / 90) % 4


def find_slant(frame: VideoFrame) -> str | None:
    """What a frame's display matrix does besides quarter turns, as a phrase; None if nothing.

    Its scale is ignored: FFmpeg turns it into a pixel aspect.
    """
    data = cast(Any, frame.side_data).get(Type.DISPLAYMATRIX)  # PyAV's stubs have the wrong type
    if data is None:
        return None
    a, b, _, c, d, *_ = _MATRIX.unpack(bytes(data))
    determinant = a * d - b * c
    if determinant == 0:
        return "is singular"
    if determinant < 0:
        return "mirrors the picture"
    if any(min(abs(x), abs(y)) > _SLANT * hypot(x, y) for x, y in ((a, b), (c, d))):
        return "rotates the picture by an angle other than quarter turns"
    return None
