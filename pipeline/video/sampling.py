"""Chooses the frames of a clip: stride and start are drawn from the seed and the video's content hash."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64


@dataclass(frozen=True)
class Sampling:
    """L frames with a stride drawn uniformly from ``min_stride`` to ``max_stride`` and a random start.

    If a video is too short for the drawn stride, the stride becomes frames // L (at least ``min_stride``), as in
    DynamiCrafter (``lvdm/data/webvid.py``). One more frame is decoded, if the video has it, for the flow of the last
    frame.

    With ``fps``, for models of one frame rate, nothing is drawn but the start: each video has the stride that brings
    its rate nearest to it, and the others do not count. Its clips keep their true rate: at 24, those of a video of 25
    frames per second have 25, of 50 also, and of 30 frames 30.
    """

    frames: int = 16
    min_stride: int = 1
    max_stride: int = 6
    clips_per_video: int = 1
    seed: int = 0
    fps: float | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.frames < 2:
            raise ValueError(f"frames {self.frames}: must be at least 2")
        if self.fps is not None and not 0 < self.fps < math.inf:
            raise ValueError(f"fps {self.fps}: must be frames per second above 0, or None to draw a stride")
        if not 1 <= self.min_stride <= self.max_stride:
            raise ValueError(f"strides {self.min_stride} to {self.max_stride}: need 1 <= min_stride <= max_stride")
        if self.clips_per_video < 1:
            raise ValueError(f"clips_per_video {self.clips_per_video}: must be at least 1")

    @property
    def key(self) -> str:
        """What changes spans, as text: a part of the identity of slots."""
        drawn = f"{self.min_stride}:{self.max_stride}" if self.fps is None else f"{self.fps:g} fps"
        return f"{self.frames}:{drawn}:{self.seed}"

    def at(self, rate: float) -> "Sampling":
        """The same for videos of one rate: with ``fps``, with its stride alone."""
        if self.fps is None:
            return self
        stride = int(nearest_strides(np.array([rate]), self.fps)[0])
        return replace(self, min_stride=stride, max_stride=stride)


def nearest_strides(rates: Float64[np.ndarray, " n"], fps: float) -> Int64[np.ndarray, " n"]:
    """The stride that brings each rate nearest to ``fps``, as a ratio; at least 1."""
    lower = np.maximum(1, np.floor(rates / fps))
    upper = lower + 1
    return np.where(rates / fps > np.sqrt(lower * upper), upper, lower).astype(np.int64)


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
    rates: Float64[np.ndarray, " n"],
) -> Spans:
    """The spans of many clips, each clip ``number`` of the video with a content key.

    ``low`` and ``high`` are the usable ranges of the videos' frames, ``high`` exclusive, and ``rates`` their frame
    rates. A span does not depend on the others.
    """
    length, available = sampling.frames, high - low
    least, most = _strides(sampling, rates)
    drawn = f"{sampling.min_stride}:{sampling.max_stride}" if sampling.fps is None else f"{sampling.fps:g}"
    head = f"{sampling.seed}:{drawn}:{length}"
    keys = zip(contents, low.tolist(), high.tolist(), numbers, strict=True)
    digests = [
        hashlib.blake2b(f"{head}:{content}:{first}:{end}:{number}".encode(), digest_size=16).digest()
        for content, first, end, number in keys
    ]
    draws = np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2)
    stride = least + _remainder(draws[:, 0], most - least + 1)
    shorter = np.maximum(least, available // length)
    stride = np.where((length - 1) * stride + 1 > available, shorter, stride)
    room = available - (length - 1) * stride  # starts that leave L frames
    with_next = room - stride  # starts that leave one more frame, for the last flow
    starts = np.maximum(1, np.where(with_next > 0, with_next, room))
    fits = (length - 1) * least + 1 <= available
    return Spans(low + _remainder(draws[:, 1], starts), stride, fits)


def _strides(
    sampling: Sampling, rates: Float64[np.ndarray, " n"]
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """The smallest and the greatest stride of each video."""
    if sampling.fps is not None:
        found = nearest_strides(rates, sampling.fps)
        return found, found
    return np.full(len(rates), sampling.min_stride), np.full(len(rates), sampling.max_stride)


def _remainder(draws: np.ndarray, count: "int | np.ndarray") -> Int64[np.ndarray, " n"]:
    return np.asarray(draws % np.asarray(count).astype(np.uint64), np.int64)
