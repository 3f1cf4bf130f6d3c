"""The columns of a clip in the stages, and the marking of failed rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from dataset.parts.tables import PLANNED

FAILURE = pa.schema([("stage", pa.string()), ("error_class", pa.string()), ("message", pa.string())])
# The graph's input: a planned clip, its part and its row there. Clips come in decoding order; the writer sorts them by
# row.
WORK = pa.schema([*PLANNED, ("part", pa.string()), ("row", pa.int32())])


@dataclass(frozen=True)
class Failure:
    """Why a row failed: the stage, the error class, and a message for the user."""

    stage: str
    error_class: str
    message: str


def failure_arrays(failures: "Sequence[Failure | None]") -> list[pa.Array]:
    """The three columns of :data:`FAILURE`."""
    return [
        pa.array([None if f is None else f.stage for f in failures], pa.string()),
        pa.array([None if f is None else f.error_class for f in failures], pa.string()),
        pa.array([None if f is None else f.message[:500] for f in failures], pa.string()),
    ]


def read_failures(table: pa.Table) -> "list[Failure | None]":
    """The failures in a table's rows."""
    columns = (table.column(name).to_pylist() for name in FAILURE.names)
    return [None if stage is None else Failure(stage, kind, text) for stage, kind, text in zip(*columns, strict=True)]


def with_failures(table: pa.Table, failures: "Sequence[Failure | None]") -> pa.Table:
    """The table with its failure columns replaced."""
    for name, array in zip(FAILURE.names, failure_arrays(failures), strict=True):
        table = table.set_column(table.column_names.index(name), name, array)
    return table


def with_seconds(table: pa.Table, seconds: "list[float]") -> pa.Table:
    """The table with a stage's time per row added to ``seconds``."""
    spent = pa.compute.add(table.column("seconds"), pa.array(seconds, pa.float64()))
    return table.set_column(table.column_names.index("seconds"), "seconds", spent)
