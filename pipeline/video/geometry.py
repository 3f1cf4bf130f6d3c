"""The shape of a clip; see :mod:`media.placement` for resizing and cropping."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClipShape:
    """Frames of a clip and their size in pixels."""

    frames: int
    height: int
    width: int
