"""The plan: the manifest minus finished clips is the work, known before any model is loaded.

A manifest row and a clip number make a *slot*; a slot is written, rejected, or to do. For sources that were never
probed the work is not known exactly; after probing, the plan is made again. The manifest's order decides which clips a
limit selects and which of two duplicates is kept; :mod:`pipeline.planning.shuffle` decides their order in the dataset.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from dataset.identity import digest, fingerprint, part_name, slot_id, text_id
from dataset.ledger import FAILED, FILTERED, Ledger, Sources, probe_outcome
from dataset.parts.tables import PLANNED
from pipeline.manifest.stamps import stamp_all
from pipeline.planning.clips import Row, Why, plan_clip
from pipeline.planning.shuffle import Shuffle
from pipeline.planning.sinks import PlanSink, RejectRows
from pipeline.recipes import Preprocess


@dataclass
class Plan:
    """The work of a run, in counts. ``rows`` counts manifest rows, all other fields count slots."""

    rows: int = 0
    reused: int = 0
    failed_before: int = 0
    filtered_before: int = 0
    to_compute: int = 0
    unprobed: int = 0
    beyond_limit: int = 0
    recaptioned: int = 0
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(outcome, error class) -> slots that this plan rejects for the first time."""
    sources_to_probe: dict[str, str] = field(default_factory=dict)
    """uri -> stamp."""

    @property
    def slots(self) -> int:
        """All slots of the manifest except those beyond the limit."""
        done = self.reused + self.failed_before + self.filtered_before
        return done + self.to_compute + self.unprobed + self.rejected.total()

    @property
    def newly_failed(self) -> int:
        """Slots that this plan rejects as failed."""
        return sum(count for (outcome, _), count in self.rejected.items() if outcome == FAILED)


@dataclass(frozen=True)
class Retry:
    """Rejected slots to try again."""

    slots: frozenset[str] = frozenset()
    probed: frozenset[str] = frozenset()
    """Sources that were already probed again for these slots."""


class Planner:
    """Classifies the slots of a manifest in one pass."""

    def __init__(
        self,
        recipe: Preprocess,
        ledger: Ledger,
        sources: Sources,
        sink: PlanSink,
        *,
        limit: int | None = None,
        retry: Retry | None = None,
    ) -> None:
        self.recipe = recipe
        self.ledger = ledger
        self.sources = sources
        self.sink = sink
        self.limit = limit
        self.retry = retry or Retry()
        sampling = recipe.sampling
        self.sampling_key = f"{sampling.frames}:{sampling.min_stride}:{sampling.max_stride}:{sampling.seed}"
        self.fingerprint = fingerprint(recipe.clips_identity())
        self.source_rules = [rule for rule in recipe.rules if rule.column in PLANNED.names]
        self.kept_rules = {str(rule) for rule in recipe.rules}
        self.plan = Plan()
        self.seen: set[str] = set()
        self.rejected_slots: set[str] = set()
        self.new_ids: set[str] = set()
        self.repeats: Counter[str] = Counter()
        self.shuffle = Shuffle(sampling.seed)
        self.rejects = RejectRows(sink)

    def run(self, batches: Iterable[pa.RecordBatch]) -> Plan:
        """Classify every slot of the manifest (rows as :data:`pipeline.manifest.ROWS`)."""
        for batch in batches:
            todo = list(self._sort(batch))
            known = self.sources.table.take(pa.array([at for at, _, _, _ in todo], pa.int64())).to_pylist()
            for (_, slot, number, row), facts in zip(todo, known, strict=True):
                self._decide(slot, facts, number, row)
        for rows in self.shuffle.parts(self.recipe.store.clips_a_part):
            self.sink.clips(part_name(self.fingerprint, rows.column("clip_id").to_pylist()), rows)
        self.rejects.flush()
        return self.plan

    def _sort(self, batch: pa.RecordBatch) -> Iterator[tuple[int, str, int, Row]]:
        """Classify by ids alone; yield the rest as (row of its source, slot, number, row)."""
        rows = [Row(*values) for values in zip(*(batch.column(i).to_pylist() for i in range(5)), strict=True)]
        stamps = stamp_all([row.uri for row in rows])
        places = [self.sources.rows.get(row.uri, -1) for row in rows]
        at = pa.array([place if place >= 0 else None for place in places], pa.int64())
        columns = ("content", "stamp")
        contents, probed = (self.sources.table.column(name).take(at).to_pylist() for name in columns)
        for row, stamp, place, content, old in zip(rows, stamps, places, contents, probed, strict=True):
            self.plan.rows += 1
            fault = row.fault or self.recipe.caption_fault(row.caption)
            current = place >= 0 and stamp in (None, old)
            for number in range(self.recipe.sampling.clips_per_video):
                if fault is not None:
                    kind, _, message = fault.partition(": ")
                    slot = self._slot_id(f"row:{row.uri}:{kind}", row, number)
                    self._reject(slot, row, Why(FAILED, "manifest", kind, message))
                elif not current:
                    self._unprobed(row.uri, stamp)
                else:
                    slot = self._slot_id(content or f"source:{row.uri}:{stamp}", row, number)
                    if content is None and slot in self.retry.slots and row.uri not in self.retry.probed:
                        self._unprobed(row.uri, stamp, slot)
                    elif self._is_open(slot, row):
                        yield place, slot, number, row

    def _slot_id(self, source: str, row: Row, number: int) -> str:
        return slot_id(source, row.start_s, row.end_s, number, self.sampling_key)

    def _unprobed(self, uri: str, stamp: str | None, slot: str = "") -> None:
        if self.limit is not None and self.plan.to_compute + self.plan.unprobed >= self.limit:
            self._leave(slot)
        else:
            self.plan.unprobed += 1
            self.plan.sources_to_probe[uri] = stamp or ""

    def _leave(self, slot: str) -> None:
        """Leave a slot beyond the limit to a later run; a slot to be retried keeps its rejection until then."""
        if slot in self.retry.slots and slot in self.ledger.rejected:
            self.rejected_slots.add(slot)
            self.plan.failed_before += 1
        else:
            self.plan.beyond_limit += 1

    def _is_open(self, slot: str, row: Row) -> bool:
        """Whether the slot is new; counts it otherwise."""
        if slot in self.seen:
            self.repeats[slot] += 1
            again = digest("repeat", slot, self.repeats[slot])
            self._reject(again, row, Why(FILTERED, "manifest", "Duplicate", "an earlier row names the same clip"))
            return False
        self.seen.add(slot)
        text = self.ledger.written.get(slot)
        if text is None:
            return not self._has_verdict(slot)
        self.plan.reused += 1
        if text != text_id(row.caption or ""):
            self.plan.recaptioned += 1
            self.sink.recaption(slot, row.caption or "")
        return False

    def _has_verdict(self, slot: str) -> bool:
        """Whether an earlier run rejected the slot, and this recipe would, too."""
        outcome, kind = self.ledger.rejected.get(slot, ("", ""))
        if not outcome or slot in self.retry.slots:
            return False
        self.rejected_slots.add(slot)
        if outcome == FAILED:
            self.plan.failed_before += 1
            return True
        a_rule_no_longer_kept = any(sign in kind for sign in "<>") and kind not in self.kept_rules
        if outcome == FILTERED and not a_rule_no_longer_kept:
            self.plan.filtered_before += 1
            return True
        return False

    def _decide(self, slot: str, facts: dict[str, Any], number: int, row: Row) -> None:
        """Plan a clip of a probed source, or reject it with a reason."""
        if (kind := facts["error_class"]) is not None:
            self._reject(slot, row, Why(probe_outcome(kind), "probe", kind, facts["message"]))
            return
        clip = plan_clip(self.recipe.sampling, slot, facts, number, row)
        if isinstance(clip, Why):
            self._reject(slot, row, clip)
        elif clip["clip_id"] in self.ledger.clip_ids or clip["clip_id"] in self.new_ids:
            self._reject(slot, row, Why(FILTERED, "probe", "Duplicate", "another clip has the same frames"))
        elif broken := next((rule for rule in self.source_rules if not rule.holds(clip[rule.column])), None):
            score = float(clip[broken.column])
            self._reject(slot, row, Why(FILTERED, "probe", str(broken), f"{broken.column} is {score:g}", score))
        elif self.limit is not None and self.plan.to_compute >= self.limit:
            self._leave(slot)
        else:
            self.new_ids.add(clip["clip_id"])
            self.plan.to_compute += 1
            self.shuffle.add(clip)

    def _reject(self, slot: str, row: Row, why: Why) -> None:
        if self._has_verdict(slot):
            return
        self.plan.rejected[why.outcome, why.kind] += 1
        self.rejected_slots.add(slot)
        self.rejects.add(slot, row, why, self.ledger.attempts.get(slot, 0) + 1)
