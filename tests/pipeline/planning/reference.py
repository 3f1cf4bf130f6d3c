"""The plan by its rules alone: row by row and slot by slot, with Python's own sets, as it was before it had columns."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataset.identity import clip_id, digest, fingerprint, part_name, slot_id, text_id
from dataset.ledger import FAILED, FILTERED, probe_outcome
from dataset.parts.tables import PLANNED
from pipeline.manifest.stamps import stamp_all
from pipeline.recipes import Preprocess
from pipeline.video.sampling import Sampling
from pipeline.video.uneven import draw_uneven_span, frames_between, has_frame_more, unpack_times
from tests.pipeline.video.spans import draw_alone

Row = dict[str, Any]


@dataclass
class Known:
    """A dataset: the caption of each written slot, the clips, and the outcome, class and number of tries of rejects."""

    written: dict[str, str] = field(default_factory=dict)
    clip_ids: set[str] = field(default_factory=set)
    rejected: dict[str, tuple[str, str]] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)


@dataclass
class Asked:
    """What is asked of a plan beside the manifest."""

    recipe: Preprocess
    limit: int | None = None
    retry: frozenset[str] = frozenset()
    probed: frozenset[str] = frozenset()


@dataclass
class Found:
    """What a plan says."""

    counts: Counter[str] = field(default_factory=Counter)
    rejects: list[Row] = field(default_factory=list)
    captions: dict[str, str] = field(default_factory=dict)
    to_probe: dict[str, str] = field(default_factory=dict)
    rejected_slots: set[str] = field(default_factory=set)
    parts: list[tuple[str, list[Row]]] = field(default_factory=list)


class ReferencePlan:
    """Decides on one slot after the other."""

    def __init__(self, asked: Asked, known: Known, sources: Mapping[str, Row]) -> None:
        self.asked, self.known, self.sources = asked, known, sources
        self.sampling = asked.recipe.sampling
        sampling = self.sampling
        self.key = f"{sampling.frames}:{sampling.min_stride}:{sampling.max_stride}:{sampling.seed}"
        self.seen: set[str] = set()
        self.repeats: Counter[str] = Counter()
        self.new: dict[str, Row] = {}
        self.found = Found()

    def run(self, batches: Sequence[Sequence[Row]]) -> Found:
        """The plan of a manifest."""
        for batch in batches:
            for slot, number, row, source in list(self._open(batch)):
                self._decide(slot, number, row, source)
        self.found.parts = list(self._parts())
        return self.found

    def _open(self, batch: Sequence[Row]) -> Iterator[tuple[str, int, Row, Row]]:
        for row in batch:
            self.found.counts["rows"] += 1
            for number in range(self.sampling.clips_per_video):
                yield from self._sort(row, number)

    def _sort(self, row: Row, number: int) -> Iterator[tuple[str, int, Row, Row]]:
        uri, bounds = row["uri"], (row["start_s"], row["end_s"])
        fault = row["fault"] or self.asked.recipe.caption_fault(row["caption"])
        if fault:
            kind, _, message = fault.partition(": ")
            slot = slot_id(f"row:{uri}:{kind}", *bounds, number, self.key)
            self._reject(slot, row, FAILED, "manifest", kind, message)
            return
        source, (stamp,) = self.sources.get(uri), stamp_all([uri])
        if source is None or (stamp is not None and stamp != source["stamp"]):
            self._probe(uri, stamp)
            return
        slot = slot_id(source["content"] or f"source:{uri}:{stamp}", *bounds, number, self.key)
        again = slot in self.seen
        self.seen.add(slot)
        if slot in self.known.written and not again:
            self.found.counts["reused"] += 1
            if self.known.written[slot] != (row["caption"] or ""):
                self.found.captions[slot] = row["caption"] or ""
        elif source["content"] is None and slot in self.asked.retry and uri not in self.asked.probed:
            self._probe(uri, stamp, slot)
        elif again:
            self.repeats[slot] += 1
            other = digest("repeat", slot, self.repeats[slot])
            self._reject(other, row, FILTERED, "manifest", "Duplicate", "an earlier row names the same clip")
        elif not self._has_verdict(slot):
            yield slot, number, row, source

    def _probe(self, uri: str, stamp: str | None, slot: str = "") -> None:
        counts = self.found.counts
        if self.asked.limit is not None and counts["to_compute"] + counts["unprobed"] >= self.asked.limit:
            self._leave(slot)
        else:
            counts["unprobed"] += 1
            self.found.to_probe.setdefault(uri, stamp or "")

    def _leave(self, slot: str) -> None:
        if slot in self.asked.retry and slot in self.known.rejected:
            self.found.rejected_slots.add(slot)
            self.found.counts["failed_before"] += 1
        else:
            self.found.counts["beyond_limit"] += 1

    def _has_verdict(self, slot: str) -> bool:
        outcome, kind = self.known.rejected.get(slot, ("", ""))
        if not outcome or slot in self.asked.retry:
            return False
        self.found.rejected_slots.add(slot)
        if outcome == FAILED:
            self.found.counts["failed_before"] += 1
            return True
        if not ({"<", ">"} & set(kind)) or kind in {str(rule) for rule in self.asked.recipe.rules}:
            self.found.counts["filtered_before"] += 1
            return True
        return False

    def _reject(
        self, slot: str, row: Row, outcome: str, stage: str, kind: str, message: str, score: float | None = None
    ) -> None:
        if self._has_verdict(slot):
            return
        self.found.counts[f"{outcome} {kind}"] += 1
        self.found.rejected_slots.add(slot)
        attempts = self.known.attempts.get(slot, 0) + 1
        said = {"outcome": outcome, "stage": stage, "error_class": kind, "message": message, "score": score}
        self.found.rejects.append({"slot": slot, "uri": row["uri"], "attempts": attempts} | said)

    def _decide(self, slot: str, number: int, row: Row, source: Row) -> None:
        if source["error_class"] is not None:
            kind = source["error_class"]
            self._reject(slot, row, probe_outcome(kind), "probe", kind, source["message"])
            return
        span = choose_span(self.sampling, source, number, (row["start_s"], row["end_s"]))
        if isinstance(span, str):
            score = None if span.startswith("the frame rate") else source["frames"]
            self._reject(slot, row, FILTERED, "probe", "UnevenTimes" if score is None else "TooShort", span, score)
            return
        clip = clip_of(self.sampling, slot, row, source, span)
        rules = [rule for rule in self.asked.recipe.rules if rule.column in PLANNED.names]
        broken = next((rule for rule in rules if not rule.holds(clip[rule.column])), None)
        if clip["clip_id"] in self.known.clip_ids or clip["clip_id"] in self.new:
            self._reject(slot, row, FILTERED, "probe", "Duplicate", "another clip has the same frames")
        elif broken is not None:
            score = float(clip[broken.column])
            self._reject(slot, row, FILTERED, "probe", str(broken), f"{broken.column} is {score:g}", score)
        elif self.asked.limit is not None and self.found.counts["to_compute"] >= self.asked.limit:
            self._leave(slot)
        else:
            self.new[clip["clip_id"]] = clip
            self.found.counts["to_compute"] += 1

    def _parts(self) -> Iterator[tuple[str, list[Row]]]:
        def key(clip: Row) -> tuple[bytes, str]:
            text = f"order|{self.sampling.seed}|{clip['content']}"
            return hashlib.blake2b(text.encode(), digest_size=8).digest(), clip["slot"]

        ordered, size = sorted(self.new.values(), key=key), self.asked.recipe.store.clips_a_part
        for first in range(0, len(ordered), size):
            part = sorted(ordered[first : first + size], key=lambda clip: str(clip["slot"]))
            name = part_name(fingerprint(self.asked.recipe.clips_identity()), [clip["clip_id"] for clip in part])
            yield name, part


def choose_span(
    sampling: Sampling, source: Row, number: int, bounds: tuple[float | None, float | None]
) -> tuple[int, int, bool] | str:
    """First frame, stride and whether there is one frame more, or why there is no span."""
    frames, fps = source["frames"], source["fps"]
    if source["times"]:
        seconds = unpack_times(source["times"])
        low, high = frames_between(seconds, *bounds)
        span = draw_uneven_span(sampling, source["content"], number, (low, high), seconds, fps)
        if span is not None:
            return span.first, span.stride, has_frame_more(seconds, span, fps, sampling.frames, high)
        if high - low >= sampling.frames:
            strides = f"strides {sampling.min_stride} to {sampling.max_stride}"
            return (
                f"the frame rate varies, and no span has frames at {sampling.frames} evenly spaced moments ({strides})"
            )
    else:
        low = 0 if bounds[0] is None else min(frames, round(bounds[0] * fps))
        high = frames if bounds[1] is None else min(frames, round(bounds[1] * fps))
        span = draw_alone(sampling, source["content"], number, (low, high))
        if span is not None:
            return span.first, span.stride, span.first + sampling.frames * span.stride < high
    return f"{frames} frames do not hold {sampling.frames}"


def clip_of(sampling: Sampling, slot: str, row: Row, source: Row, span: tuple[int, int, bool]) -> Row:
    """A row of the planned clips."""
    first, stride, has_next = span
    as_probed = ("content", "variable_rate", "turns", "pixel_aspect", "codec", "pixel_format")
    caption = row["caption"] or ""
    facts = {name: source[name] for name in as_probed} | {
        f"source_{name}": source[name] for name in ("fps", "frames", "height", "width")
    }
    facts |= {"slot": slot, "uri": row["uri"], "caption": caption, "text_id": text_id(caption)}
    facts |= {"clip_id": clip_id(source["content"], first, stride, sampling.frames), "first": first, "stride": stride}
    facts |= {"fps": source["fps"] / stride, "has_next": has_next}
    return {name: facts[name] for name in PLANNED.names}
