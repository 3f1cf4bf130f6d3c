"""Counters of the stages: one monitor per pass, and a reporter in every worker process."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa


@dataclass
class StageCount:
    """Rows that entered, left and failed in a stage, and its seconds over all processes."""

    entered: int = 0
    left: int = 0
    failed: int = 0
    seconds: float = 0.0


Counts = dict[str, StageCount]


class Monitor:
    """Counts the stages' rows, and tracks the clips in progress of each featurizer."""

    def __init__(self) -> None:
        self.counts: Counts = {}
        self.in_hand: dict[str, tuple[str, ...]] = {}
        self.actors: list[Any] = []

    def register(self, actor: Any) -> None:
        """Add an actor of this run."""
        self.actors.append(actor)

    def registered(self) -> list[Any]:
        """All actors, including dead ones."""
        return self.actors

    def enter(self, stage: str, worker: str, slots: tuple[str, ...], rows: int) -> None:
        """Rows enter a stage; with ``worker``, these slots are in progress there until it leaves."""
        self.counts.setdefault(stage, StageCount()).entered += rows
        if worker:
            self.in_hand[worker] = slots

    def leave(self, stage: str, worker: str, rows: int, failed: int, seconds: float) -> None:
        """Rows leave a stage."""
        self.in_hand.pop(worker, None)
        count = self.counts.setdefault(stage, StageCount())
        count.left += rows
        count.failed += failed
        count.seconds += seconds

    def read(self) -> "tuple[Counts, set[str]]":
        """Counts, and the slots of clips in progress."""
        return self.counts, {slot for slots in self.in_hand.values() for slot in slots}


class Reporter:
    """Reports a stage's batches to the monitor, with only two messages per batch.

    Messages lost with a dead worker only affect the display.
    """

    worker = ""

    def __init__(self, monitor: Any, stage: str) -> None:
        self.monitor = monitor
        self.stage = stage

    @contextlib.contextmanager
    def watch(self, table: pa.Table) -> Iterator[Callable[[pa.Table], None]]:
        """Report a batch on entry and, through the yielded function, on exit."""
        rows = _real_rows(table)
        self.enter(table, rows)
        started = time.perf_counter()

        def leave(result: pa.Table) -> None:
            failed = len(result) - result.column("stage").null_count - _failed_before(table)
            self.monitor.leave(self.stage, self.worker, rows, failed, time.perf_counter() - started)

        yield leave

    def enter(self, table: pa.Table, rows: int) -> None:
        """Report a batch of ``rows`` rows, not counting blank ones."""
        self.monitor.enter(self.stage, self.worker, (), rows)


def _real_rows(table: pa.Table) -> int:
    blank: int = table.column("slot").null_count if "slot" in table.column_names else 0
    rows: int = table.num_rows
    return rows - blank


def _failed_before(table: pa.Table) -> int:
    passed: int = table.column("stage").null_count if "stage" in table.column_names else table.num_rows
    rows: int = table.num_rows
    return rows - passed
