"""Sinks of a plan, which is streamed so that a million clips are never in memory at once."""

from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from dataset.parts.tables import REJECTS
from pipeline.planning.clips import Row, Why

_REJECTS_AT_ONCE = 10_000


@runtime_checkable
class PlanSink(Protocol):
    """Receives a plan's results as they are found."""

    def clips(self, part: str, rows: pa.Table) -> None:
        """A part of clips to compute, rows as :data:`dataset.parts.tables.PLANNED`."""

    def rejects(self, rows: pa.Table) -> None:
        """Slots rejected by the plan, rows as :data:`dataset.parts.tables.REJECTS`."""

    def recaption(self, slot: str, caption: str) -> None:
        """A written slot whose caption differs from the manifest's."""


class DryRun:
    """A sink that ignores everything."""

    def clips(self, part: str, rows: pa.Table) -> None:
        """Nothing."""

    def rejects(self, rows: pa.Table) -> None:
        """Nothing."""

    def recaption(self, slot: str, caption: str) -> None:
        """Nothing."""


class RejectRows:
    """Collects rejected slots as rows and passes them to a sink in batches."""

    def __init__(self, sink: PlanSink) -> None:
        self._sink = sink
        self._rows: list[dict[str, Any]] = []

    def add(self, slot: str, row: Row, why: Why, attempts: int) -> None:
        """Add a rejected slot, tried ``attempts`` times including this one."""
        self._rows.append(
            {
                "slot": slot,
                "clip_id": None,
                "uri": row.uri,
                "caption": (row.caption or "")[:200],
                "artifact": "",
                "outcome": why.outcome,
                "stage": why.stage,
                "error_class": why.kind,
                "message": why.message,
                "score": why.score,
                "attempts": attempts,
                "seconds": 0.0,
                "run": None,
                "part": None,
            }
        )
        if len(self._rows) >= _REJECTS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Pass remaining rows to the sink."""
        if self._rows:
            self._sink.rejects(pa.Table.from_pylist(self._rows, schema=REJECTS))
            self._rows = []
