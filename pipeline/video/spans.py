"""Chooses the spans of clips from their videos' properties and their manifest rows' bounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float64, Int64

from pipeline.video.sampling import Sampling, draw_spans
from pipeline.video.uneven import draw_uneven_span, frames_between, has_frame_more, unpack_times


@dataclass(frozen=True)
class NoSpan:
    """Why a video has no span: a class and a message for the rejects table, and the number of its frames."""

    kind: str
    message: str
    score: float | None = None


@dataclass(frozen=True)
class ChosenSpans:
    """The spans of many clips, and whether each video has one more frame for the last flow.

    ``missing`` says by position why a clip has no span; its other values are meaningless.
    """

    first: Int64[np.ndarray, " n"]
    stride: Int64[np.ndarray, " n"]
    has_next: Bool[np.ndarray, " n"]
    missing: Mapping[int, NoSpan]


def choose_spans(
    sampling: Sampling,
    facts: pa.Table,
    numbers: Sequence[int],
    starts: Sequence[float | None],
    ends: Sequence[float | None],
) -> ChosenSpans:
    """The spans of many clips, each clip ``number`` of a video between bounds in seconds.

    ``facts``: a row of the sources for each, of videos that can be used.
    """
    frames, fps = (facts.column(name).to_numpy() for name in ("frames", "fps"))
    low = _frames_at(starts, frames, fps, np.zeros_like(frames))
    high = _frames_at(ends, frames, fps, frames)
    spans = draw_spans(sampling, facts.column("content").to_pylist(), numbers, low, high, fps)
    has_next = spans.first + sampling.frames * spans.stride < high
    missing = {at: _too_short(sampling, int(frames[at])) for at in np.flatnonzero(~spans.fits).tolist()}
    varies = [at for at, times in enumerate(facts.column("times").to_pylist()) if times]
    for at, row in zip(varies, facts.take(varies).to_pylist() if varies else (), strict=True):
        found = _choose_uneven(sampling, row, numbers[at], (starts[at], ends[at]))
        if isinstance(found, NoSpan):
            missing[at] = found
        else:
            missing.pop(at, None)
            spans.first[at], spans.stride[at], has_next[at] = found
    return ChosenSpans(spans.first, spans.stride, has_next, missing)


def _frames_at(
    seconds: Sequence[float | None],
    frames: Int64[np.ndarray, " n"],
    fps: Float64[np.ndarray, " n"],
    otherwise: Int64[np.ndarray, " n"],
) -> Int64[np.ndarray, " n"]:
    """The frame at a time of each video, at most their number; ``otherwise`` where there is no time."""
    times = np.array(seconds, np.float64)  # None becomes NaN
    with np.errstate(over="ignore"):
        found = np.minimum(frames, np.rint(times * fps))
    return np.where(np.isnan(times), otherwise, found).astype(np.int64)


def _choose_uneven(
    sampling: Sampling, facts: Mapping[str, Any], number: int, bounds: tuple[float | None, float | None]
) -> tuple[int, int, bool] | NoSpan:
    """First frame, stride and whether there is a frame more, in a video of a variable rate."""
    seconds, fps = unpack_times(facts["times"]), facts["fps"]
    sampling = sampling.at(fps)
    low, high = frames_between(seconds, *bounds)
    span = draw_uneven_span(sampling, facts["content"], number, (low, high), seconds, fps)
    if span is not None:
        return span.first, span.stride, has_frame_more(seconds, span, fps, sampling.frames, high)
    if high - low >= sampling.frames:
        strides = f"strides {sampling.min_stride} to {sampling.max_stride}"
        even = f"{sampling.frames} evenly spaced moments ({strides})"
        return NoSpan("UnevenTimes", f"the frame rate varies, and no span has frames at {even}")
    return _too_short(sampling, facts["frames"])


def _too_short(sampling: Sampling, frames: int) -> NoSpan:
    rate = "" if sampling.fps is None else f" at about {sampling.fps:g} per second"
    return NoSpan("TooShort", f"{frames} frames do not hold {sampling.frames}{rate}", frames)
