"""Chooses the span of a clip from its video's properties and its manifest row's bounds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.video.sampling import Sampling, Span, draw_span
from pipeline.video.uneven import draw_uneven_span, frames_between, has_frame_more, unpack_times


@dataclass(frozen=True)
class Chosen:
    """A span, and whether the video has one more frame for the last flow."""

    span: Span
    has_next: bool


@dataclass(frozen=True)
class NoSpan:
    """Why a video has no span: a class and a message for the rejects table, and the number of usable frames."""

    kind: str
    message: str
    score: float | None = None


def choose_span(
    sampling: Sampling, facts: Mapping[str, Any], number: int, bounds: tuple[float | None, float | None]
) -> Chosen | NoSpan:
    """The span of clip ``number`` of a video (``facts``: a row of the sources) between ``bounds`` in seconds."""
    frames, fps = facts["frames"], facts["fps"]
    if facts.get("times"):
        seconds = unpack_times(facts["times"])
        low, high = frames_between(seconds, *bounds)
        span = draw_uneven_span(sampling, facts["content"], number, (low, high), seconds, fps)
        if span is not None:
            return Chosen(span, has_frame_more(seconds, span, fps, sampling.frames, high))
        if high - low >= sampling.frames:
            strides = f"strides {sampling.min_stride} to {sampling.max_stride}"
            even = f"{sampling.frames} evenly spaced moments ({strides})"
            return NoSpan("UnevenTimes", f"the frame rate varies, and no span has frames at {even}")
    else:
        start_s, end_s = bounds
        low = 0 if start_s is None else min(frames, round(start_s * fps))
        high = frames if end_s is None else min(frames, round(end_s * fps))
        span = draw_span(sampling, facts["content"], number, (low, high))
        if span is not None:
            return Chosen(span, span.first + sampling.frames * span.stride < high)
    return NoSpan("TooShort", f"{frames} frames do not hold {sampling.frames}", frames)
