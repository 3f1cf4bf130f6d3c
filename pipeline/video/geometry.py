"""The shape of a clip; where a frame's pixels go is :mod:`media.placement`'s."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClipShape:
    """Frames of a clip and their size in pixels."""

    frames: int
    height: int
    width: int
