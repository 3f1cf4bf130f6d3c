"""Chooses the frames of a clip: stride and start are drawn from the seed and the video's content hash."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64


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


@dataclass(frozen=True)
class Spans:
    """The spans of many clips; ``fits`` says which of the videos are long enough, the other spans are meaningless."""

    first: Int64[np.ndarray, " n"]
    stride: Int64[np.ndarray, " n"]
    fits: Bool[np.ndarray, " n"]


def draw_spans(
    sampling: Sampling,
    contents: Sequence[str],
    numbers: Sequence[int],
    low: Int64[np.ndarray, " n"],
    high: Int64[np.ndarray, " n"],
) -> Spans:
    """The spans of many clips, each clip ``number`` of the video with a content key.

    ``low`` and ``high`` are the usable ranges of the videos' frames, ``high`` exclusive. A span does not depend on the
    others.
    """
    length, available = sampling.frames, high - low
    head = f"{sampling.seed}:{sampling.min_stride}:{sampling.max_stride}:{length}"
    keys = zip(contents, low.tolist(), high.tolist(), numbers, strict=True)
    digests = [
        hashlib.blake2b(f"{head}:{content}:{first}:{end}:{number}".encode(), digest_size=16).digest()
        for content, first, end, number in keys
    ]
    draws = np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2)
    stride = sampling.min_stride + _remainder(draws[:, 0], sampling.max_stride - sampling.min_stride + 1)
    shorter = np.maximum(sampling.min_stride, available // length)
    stride = np.where((length - 1) * stride + 1 > available, shorter, stride)
    room = available - (length - 1) * stride  # starts that leave L frames
    with_next = room - stride  # starts that leave one more frame, for the last flow
    starts = np.maximum(1, np.where(with_next > 0, with_next, room))
    fits = (length - 1) * sampling.min_stride + 1 <= available
    return Spans(low + _remainder(draws[:, 1], starts), stride, fits)


def _remainder(draws: np.ndarray, count: "int | np.ndarray") -> Int64[np.ndarray, " n"]:
    return np.asarray(draws % np.asarray(count).astype(np.uint64), np.int64)
