"""Turns slots of probed sources into clips to compute, or the reasons why there are none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from dataset.identity import clip_ids, text_ids
from dataset.ledger import FILTERED, probe_outcome
from dataset.parts.tables import PLANNED
from pipeline.video.sampling import Sampling
from pipeline.video.spans import ChosenSpans, choose_spans

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


class OpenSlot(NamedTuple):
    """A slot that is neither written nor rejected: clip ``number`` of a row, and the position of its source."""

    slot: str
    row: Row
    number: int
    place: int


@dataclass(frozen=True)
class PlannedClips:
    """The clips of slots, rows as :data:`dataset.parts.tables.PLANNED`, and by position why a slot has none."""

    rows: pa.Table
    missing: Mapping[int, Why]


def plan_clips(sampling: Sampling, slots: Sequence[OpenSlot], facts: pa.Table) -> PlannedClips:
    """The clips of slots; ``facts``: a row of the sources for each."""
    failures = zip(*(facts.column(name).to_pylist() for name in ("error_class", "message")), strict=True)
    missing = {
        at: Why(probe_outcome(kind), "probe", kind, message)
        for at, (kind, message) in enumerate(failures)
        if kind is not None
    }
    usable = [at for at in range(len(slots)) if at not in missing]
    if not usable:
        return PlannedClips(PLANNED.empty_table(), missing)
    slots, facts = [slots[at] for at in usable], facts.take(usable)
    bounds = ([one.row.start_s for one in slots], [one.row.end_s for one in slots])
    spans = choose_spans(sampling, facts, [one.number for one in slots], *bounds)
    missing |= {
        usable[at]: Why(FILTERED, "probe", why.kind, why.message, why.score) for at, why in spans.missing.items()
    }
    there = pa.array([at not in spans.missing for at in range(len(slots))], pa.bool_())
    return PlannedClips(_rows(sampling, slots, facts, spans).filter(there), missing)


def _rows(sampling: Sampling, slots: Sequence[OpenSlot], facts: pa.Table, spans: ChosenSpans) -> pa.Table:
    captions = [one.row.caption or "" for one in slots]
    contents, fps = facts.column("content"), facts.column("fps")
    ids = clip_ids(contents.to_pylist(), spans.first.tolist(), spans.stride.tolist(), sampling.frames)
    columns = {name: facts.column(name) for name in _AS_PROBED} | {
        "clip_id": ids,
        "slot": [one.slot for one in slots],
        "uri": [one.row.uri for one in slots],
        "caption": captions,
        "text_id": text_ids(captions),
        "first": spans.first,
        "stride": spans.stride,
        "fps": fps.to_numpy() / spans.stride,
        "has_next": spans.has_next,
        "source_fps": fps,
        "source_frames": facts.column("frames"),
        "source_height": facts.column("height"),
        "source_width": facts.column("width"),
    }
    return pa.table([columns[name] for name in PLANNED.names], schema=PLANNED)
