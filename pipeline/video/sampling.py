"""Chooses the frames of a clip: stride and start are drawn from the seed and the video's content hash."""

import hashlib
import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """L frames with a stride drawn uniformly from ``min_stride`` to ``max_stride`` and a random start.

    If a video is too short for the drawn stride, the stride becomes frames // L (at least ``min_stride``), as in
    DynamiCrafter (``lvdm/data/webvid.py``). One more frame is decoded, if the video has it, for the flow of the last
    frame.
    """

    frames: int = 16
    min_stride: int = 1
    max_stride: int = 6
    clips_per_video: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.frames < 2:
            raise ValueError(f"frames {self.frames}: must be at least 2")
        if not 1 <= self.min_stride <= self.max_stride:
            raise ValueError(f"strides {self.min_stride} to {self.max_stride}: need 1 <= min_stride <= max_stride")
        if self.clips_per_video < 1:
            raise ValueError(f"clips_per_video {self.clips_per_video}: must be at least 1")


@dataclass(frozen=True)
class Span:
    """The frames first, first + stride, ... of a video."""

    first: int
    stride: int


def draw_span(sampling: Sampling, content: str, number: int, frames: tuple[int, int]) -> Span | None:
    """The span of clip ``number`` of the video with this content key; None if the video is too short.

    ``frames`` is the usable range (from, to) of the video's frames, ``to`` exclusive.
    """
    low, high = frames
    length, available = sampling.frames, high - low
    if (length - 1) * sampling.min_stride + 1 > available:
        return None
    key = f"{sampling.seed}:{sampling.min_stride}:{sampling.max_stride}:{length}:{content}:{low}:{high}:{number}"
    draws = struct.unpack("<2Q", hashlib.blake2b(key.encode(), digest_size=16).digest())
    stride = sampling.min_stride + draws[0] % (sampling.max_stride - sampling.min_stride + 1)
    if (length - 1) * stride + 1 > available:
        stride = max(sampling.min_stride, available // length)
    room = available - (length - 1) * stride  # starts that leave L frames
    with_next = room - stride  # starts that leave one more frame, for the last flow
    return Span(low + draws[1] % max(1, with_next if with_next > 0 else room), stride)
