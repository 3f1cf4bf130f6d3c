"""Turns a manifest row and its probed source into a clip to compute, or the reason why there is none."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from dataset.identity import clip_id, text_id
from dataset.ledger import FILTERED
from pipeline.video.sampling import Sampling
from pipeline.video.spans import NoSpan, choose_span

_AS_PROBED = ("content", "variable_rate", "turns", "pixel_aspect", "codec", "pixel_format")


class Row(NamedTuple):
    """A manifest row; ``fault`` says what is wrong with it."""

    uri: str
    caption: str | None
    start_s: float | None
    end_s: float | None
    fault: str | None


class Why(NamedTuple):
    """Why a slot is rejected: ``outcome`` (failed or filtered), the stage, the class and a message."""

    outcome: str
    stage: str
    kind: str
    message: str
    score: float | None = None


def plan_clip(sampling: Sampling, slot: str, facts: Mapping[str, Any], number: int, row: Row) -> dict[str, Any] | Why:
    """Clip ``number`` of a row with a probed source; its columns are :data:`dataset.parts.tables.PLANNED`."""
    chosen = choose_span(sampling, facts, number, (row.start_s, row.end_s))
    if isinstance(chosen, NoSpan):
        return Why(FILTERED, "probe", chosen.kind, chosen.message, chosen.score)
    span, fps = chosen.span, facts["fps"]
    return {name: facts[name] for name in _AS_PROBED} | {
        "clip_id": clip_id(facts["content"], span.first, span.stride, sampling.frames),
        "slot": slot,
        "uri": row.uri,
        "caption": row.caption or "",
        "text_id": text_id(row.caption or ""),
        "first": span.first,
        "stride": span.stride,
        "fps": fps / span.stride,
        "has_next": chosen.has_next,
        "source_fps": fps,
        "source_frames": facts["frames"],
        "source_height": facts["height"],
        "source_width": facts["width"],
    }
