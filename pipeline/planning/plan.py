"""The plan: the manifest minus finished clips is the work, known before any model is loaded.

A manifest row and a clip number make a *slot*; a slot is written, rejected, or to do. For sources that were never
probed the work is not known exactly; after probing, the plan is made again. The manifest's order decides which clips a
limit selects and which of two duplicates is kept; :mod:`pipeline.planning.shuffle` decides their order in the dataset.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pyarrow as pa

from base.keys import KeySet, keys_of_column
from dataset.identity import digest, fingerprint, part_name, slot_id
from dataset.ledger import FAILED, FILTERED, Ledger, Sources
from dataset.parts.tables import PLANNED
from pipeline.planning.clips import OpenSlot, Row, Why, plan_clips
from pipeline.planning.shuffle import Shuffle
from pipeline.planning.sinks import PlanSink, RejectRows
from pipeline.planning.slots import RowColumns, SlotFinder
from pipeline.planning.to_probe import SourcesToProbe
from pipeline.recipes import Preprocess

_CLIPS_AT_ONCE = 4096


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
    sources_to_probe: SourcesToProbe = field(default_factory=SourcesToProbe)

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
    probed: SourcesToProbe = field(default_factory=SourcesToProbe)
    """Sources that were already probed, also again for these slots."""


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
        self.sampling_key = sampling.key
        self.fingerprint = fingerprint(recipe.clips_identity())
        self.source_rules = [rule for rule in recipe.rules if rule.column in PLANNED.names]
        self.kept_rules = {str(rule) for rule in recipe.rules}
        self.plan = Plan()
        self.rejected_slots: set[str] = set()
        self.slots = SlotFinder(ledger, sampling.clips_per_video, self.sampling_key)
        self.new_ids = KeySet()
        self.repeats: Counter[str] = Counter()
        self.shuffle = Shuffle(sampling.seed)
        self.rejects = RejectRows(sink)

    def run(self, batches: Iterable[pa.RecordBatch]) -> Plan:
        """Classify every slot of the manifest (rows as :data:`pipeline.manifest.ROWS`)."""
        with self.shuffle:
            for batch in batches:
                found = iter(list(self._sort(batch)))
                while some := list(islice(found, _CLIPS_AT_ONCE)):
                    self._decide(some)
            for rows in self.shuffle.parts(self.recipe.store.clips_a_part):
                self.sink.clips(part_name(self.fingerprint, rows.column("clip_id").to_pylist()), rows)
        self.rejects.flush()
        return self.plan

    def _sort(self, batch: pa.RecordBatch) -> Iterator[OpenSlot]:
        """Classify by ids alone; yield the slots that are still open."""
        rows = RowColumns.read(batch, self.recipe, self.sources)
        slots = self.slots.find(rows)
        reused = slots.reused
        self.plan.rows += batch.num_rows
        self.plan.reused += int(reused.sum())
        changed = self.slots.recaptioned(rows, slots)
        for at, written in zip(slots.rows[changed].tolist(), slots.ids(changed), strict=True):
            self.plan.recaptioned += 1
            self.sink.recaption(written, rows.captions[at] or "")
        others = np.flatnonzero(~reused)
        ids = dict(zip(others.tolist(), slots.ids(others), strict=True))
        first = np.full(batch.num_rows, -1)  # the number of each row's first slot
        first[slots.rows[:: self.slots.count]] = np.arange(0, len(slots.rows), self.slots.count)
        left = np.flatnonzero(np.bincount(slots.rows[reused], minlength=batch.num_rows) < self.slots.count)
        for at, start in zip(left.tolist(), first[left].tolist(), strict=True):
            row = rows.row(at)
            for number in range(self.slots.count):
                if row.fault is not None:
                    self._reject_row(row, number)
                elif start < 0:
                    self._unprobed(row.uri, rows.stamps[at])
                elif (slot := ids.get(start + number)) is None:
                    continue  # reused
                elif rows.contents[at] is None and slot in self.retry.slots and row.uri not in self.retry.probed:
                    self._unprobed(row.uri, rows.stamps[at], slot)
                elif slots.again[start + number]:
                    self._reject_repeated(slot, row)
                elif not self._has_verdict(slot):
                    yield OpenSlot(slot, row, number, int(rows.places[at]))

    def _reject_row(self, row: Row, number: int) -> None:
        kind, _, message = (row.fault or "").partition(": ")
        slot = slot_id(f"row:{row.uri}:{kind}", row.start_s, row.end_s, number, self.sampling_key)
        self._reject(slot, row, Why(FAILED, "manifest", kind, message))

    def _reject_repeated(self, slot: str, row: Row) -> None:
        self.repeats[slot] += 1
        again = digest("repeat", slot, self.repeats[slot])
        self._reject(again, row, Why(FILTERED, "manifest", "Duplicate", "an earlier row names the same clip"))

    def _unprobed(self, uri: str, stamp: str | None, slot: str = "") -> None:
        if self.limit is not None and self.plan.to_compute + self.plan.unprobed >= self.limit:
            self._leave(slot)
        else:
            self.plan.unprobed += 1
            self.plan.sources_to_probe.add(uri, stamp or "")

    def _leave(self, slot: str) -> None:
        """Leave a slot beyond the limit to a later run; a slot to be retried keeps its rejection until then."""
        if slot in self.retry.slots and slot in self.ledger.rejected:
            self.rejected_slots.add(slot)
            self.plan.failed_before += 1
        else:
            self.plan.beyond_limit += 1

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

    def _decide(self, some: Sequence[OpenSlot]) -> None:
        """Plan clips of probed sources, or reject them with a reason."""
        facts = self.sources.take(np.array([one.place for one in some]))
        planned = plan_clips(self.recipe.sampling, some, facts)
        keys = keys_of_column(planned.rows.column("clip_id"))
        there = ((self.ledger.clip_ids.find(keys) >= 0) | self.new_ids.has(keys)).tolist()
        ids, broken = planned.rows.column("clip_id").to_pylist(), self._broken_rules(planned.rows)
        clips = iter(range(len(ids)))  # each slot without a reason has the next one
        new: dict[str, int] = {}
        for at, one in enumerate(some):
            if at in planned.missing:
                self._reject(one.slot, one.row, planned.missing[at])
                continue
            clip = next(clips)
            if there[clip] or ids[clip] in new:
                self._reject(one.slot, one.row, Why(FILTERED, "probe", "Duplicate", "another clip has the same frames"))
            elif clip in broken:
                self._reject(one.slot, one.row, broken[clip])
            elif self.limit is not None and self.plan.to_compute >= self.limit:
                self._leave(one.slot)
            else:
                new[ids[clip]] = clip
                self.plan.to_compute += 1
        if new:
            self.new_ids.add(keys[list(new.values())])
            self.shuffle.add(planned.rows.take(list(new.values())))

    def _broken_rules(self, clips: pa.Table) -> dict[int, Why]:
        """By position, the clips that break a rule on their videos, and the first such rule."""
        found: dict[int, Why] = {}
        for rule in self.source_rules if clips.num_rows else ():
            scores = clips.column(rule.column)
            for at in np.flatnonzero(~np.asarray(rule.mask(clips))).tolist():
                score = float(scores[at].as_py())
                found.setdefault(at, Why(FILTERED, "probe", str(rule), f"{rule.column} is {score:g}", score))
        return found

    def _reject(self, slot: str, row: Row, why: Why) -> None:
        if self._has_verdict(slot):
            return
        self.plan.rejected[why.outcome, why.kind] += 1
        self.rejected_slots.add(slot)
        self.rejects.add(slot, row, why, self.ledger.attempts.get(slot, 0) + 1)
