"""Where a plan goes while it is made, so that a million clips never lie in memory at once."""

from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from dataset.parts.tables import REJECTS
from pipeline.planning.clips import Row, Why

_REJECTS_AT_ONCE = 10_000


@runtime_checkable
class PlanSink(Protocol):
    """Takes the work as it is found."""

    def clips(self, part: str, rows: pa.Table) -> None:
        """A part of clips to compute, rows as :data:`dataset.parts.tables.PLANNED`."""

    def rejects(self, rows: pa.Table) -> None:
        """Slots that the plan itself rejects, rows as :data:`dataset.parts.tables.REJECTS`."""

    def recaption(self, slot: str, caption: str) -> None:
        """A slot that is written, with a caption other than the manifest's."""


class DryRun:
    """A sink that keeps nothing."""

    def clips(self, part: str, rows: pa.Table) -> None:
        """Nothing."""

    def rejects(self, rows: pa.Table) -> None:
        """Nothing."""

    def recaption(self, slot: str, caption: str) -> None:
        """Nothing."""


class RejectRows:
    """Gathers rejected slots as rows, and gives them to a sink, many at once."""

    def __init__(self, sink: PlanSink) -> None:
        self._sink = sink
        self._rows: list[dict[str, Any]] = []

    def add(self, slot: str, row: Row, why: Why, attempts: int) -> None:
        """A slot that the plan rejects; it was tried ``attempts`` times, this one counted in."""
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
        """Give the sink what is left."""
        if self._rows:
            self._sink.rejects(pa.Table.from_pylist(self._rows, schema=REJECTS))
            self._rows = []
