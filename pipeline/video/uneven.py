"""Videos of a variable frame rate: frame times, and spans whose frames are evenly spaced in time.

A span has moments ``step`` seconds apart, starting at its first frame, and takes the frame nearest to each. It is
usable if every moment has a frame within half a step, and all frames differ. So a clip has constant speed, repeats no
frame, and avoids pauses and stretches whose rate is lower than its own.
"""

import hashlib
import struct
import zlib
from fractions import Fraction

import numpy as np
from jaxtyping import Float64, Int64

from pipeline.video.sampling import Sampling, Span

_HEADER = struct.Struct("<qq")
# Rounding error of manifest times with two decimals.
_BOUND_S = 0.005
_TRIES = 16
_STARTS_AT_ONCE = 1 << 14


def pack_times(ticks: Int64[np.ndarray, " n"], tick: Fraction) -> bytes:
    """A compact encoding of frame times: the length of a tick, and the deflated gaps in ticks."""
    gaps = np.diff(ticks).astype("<i8").tobytes()
    return _HEADER.pack(tick.numerator, tick.denominator) + zlib.compress(gaps)


def unpack_times(packed: bytes) -> Float64[np.ndarray, " n"]:
    """Seconds from the first frame to each frame."""
    gaps = np.frombuffer(zlib.decompress(packed[_HEADER.size :]), "<i8")
    ticks = np.concatenate([np.zeros(1, np.int64), np.cumsum(gaps, dtype=np.int64)])
    return seconds_of(ticks, Fraction(*_HEADER.unpack_from(packed)))


def seconds_of(ticks: Int64[np.ndarray, " n"], tick: Fraction) -> Float64[np.ndarray, " n"]:
    """Seconds from the first frame to each frame, computed the same way for plan and decoder."""
    return np.asarray((ticks - ticks[0]) * tick.numerator / tick.denominator, np.float64)


def frames_between(seconds: Float64[np.ndarray, " n"], start_s: float | None, end_s: float | None) -> tuple[int, int]:
    """The frames (from, to) that begin between two times, relative to the first frame; ``to`` is exclusive."""
    low = 0 if start_s is None else int(np.searchsorted(seconds, start_s - _BOUND_S))
    high = len(seconds) if end_s is None else int(np.searchsorted(seconds, end_s - _BOUND_S))
    return low, high


def even_frames(
    seconds: Float64[np.ndarray, " n"], first: int, step: float, count: int
) -> Int64[np.ndarray, " count"] | None:
    """Numbers of the frames nearest to ``count`` moments from frame ``first``; None if the span is not usable."""
    numbers, usable = _nearest(seconds, np.array([first]), step, count)
    return np.asarray(numbers[0], np.int64) if usable[0] else None


def draw_uneven_span(
    sampling: Sampling,
    content: str,
    number: int,
    frames: tuple[int, int],
    seconds: Float64[np.ndarray, " n"],
    fps: float,
) -> Span | None:
    """As :func:`pipeline.video.sampling.draw_spans`, of one clip, among the usable spans of a video with these times.

    The stride is drawn first; if it has no usable span, the nearest strides are tried, longer ones first. The start is
    drawn uniformly from the usable ones, preferably with one more frame than L.
    """
    low, high = frames
    key = (
        f"{sampling.seed}:{sampling.min_stride}:{sampling.max_stride}:{sampling.frames}:{content}:{low}:{high}:{number}"
    )
    seed = hashlib.blake2b(key.encode(), digest_size=16).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "little")))
    drawn = int(generator.integers(sampling.min_stride, sampling.max_stride + 1))
    strides = range(sampling.min_stride, sampling.max_stride + 1)
    for stride in sorted(strides, key=lambda stride: (abs(stride - drawn), -stride)):
        for count in (sampling.frames + 1, sampling.frames):
            first = _draw_start(generator, seconds[:high], (low, stride / fps, count), seconds)
            if first is not None:
                return Span(first, stride)
    return None


def _draw_start(
    generator: np.random.Generator,
    usable: Float64[np.ndarray, " m"],
    span: tuple[int, float, int],
    seconds: Float64[np.ndarray, " n"],
) -> int | None:
    """A start drawn uniformly from the usable ones: first among a few candidates, then among all."""
    low, step, count = span
    high = len(usable)
    if high - low < count:
        return None
    last = int(np.searchsorted(usable, usable[-1] - (count - 1.5) * step, side="right"))
    if last <= low:
        return None
    for tried in (generator.integers(low, last, _TRIES), np.arange(low, last)):
        fits: list[np.ndarray] = []
        for begin in range(0, len(tried), _STARTS_AT_ONCE):
            starts = tried[begin : begin + _STARTS_AT_ONCE]
            numbers, good = _nearest(seconds, starts, step, count)
            fits.append(starts[good & (numbers[:, -1] < high)])
        found = np.concatenate(fits)
        if len(found):
            return int(found[int(generator.integers(len(found)))])
    return None


def _nearest(
    seconds: Float64[np.ndarray, " n"], starts: Int64[np.ndarray, " s"], step: float, count: int
) -> tuple[Int64[np.ndarray, "s count"], np.ndarray]:
    """For each start, the frames nearest to its moments, and whether the span is usable."""
    moments = seconds[starts][:, None] + step * np.arange(count)
    after = np.searchsorted(seconds, moments).clip(1, len(seconds) - 1)
    numbers = np.where(moments - seconds[after - 1] <= seconds[after] - moments, after - 1, after)
    near = np.abs(seconds[numbers] - moments) <= step / 2 + 1e-9
    return numbers, near.all(axis=1) & (np.diff(numbers, axis=1) > 0).all(axis=1)


def has_frame_more(seconds: Float64[np.ndarray, " n"], span: Span, fps: float, count: int, high: int) -> bool:
    """Whether the span has one more frame after ``count`` frames, before frame ``high``."""
    numbers = even_frames(seconds, span.first, span.stride / fps, count + 1)
    return numbers is not None and bool(numbers[-1] < high)
