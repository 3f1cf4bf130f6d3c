"""The result of an evaluation as a table for people."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from rich.table import Table

from evaluation.sprites.evaluate import Evaluation, Row
from evaluation.sprites.summary import Summary
from evaluation.statistics.estimate import Estimate

Measure = Callable[[Summary], Estimate | None]


def percent(found: Estimate | None) -> str:
    """Such as ``63.1 (57.7, 68.2)``, in per cent; a dash if there is none."""
    return "-" if found is None else f"{100 * found.value:.1f} ({100 * found.low:.1f}, {100 * found.high:.1f})"


MEASURES: dict[str, Measure] = {
    "right": lambda found: found.right,
    "object": lambda found: found.object_right,
    "direction": lambda found: found.direction_right,
    "displacement error": lambda found: found.error,
    "leakage": lambda found: found.leak,
    "kept": lambda found: found.kept,
    "prompt swap": lambda found: found.sensitivity,
    "static": lambda found: found.static,
}
"""The measures of the main table, all in per cent; the displacement error in per cent of the short side."""


def tables(found: Evaluation) -> Iterable[Table]:
    """All measures, and the right videos by kind of motion: a column for each control and model."""
    rows = (*found.controls, *found.models)
    first = rows[0].summary
    title = f"{first.videos:,} videos of {first.scenes:,} images, per cent (95 % interval over images)"
    yield _table(title, rows, MEASURES)
    if len(first.by_kind) > 1:
        yield _table("right, by kind of motion", rows, {kind: partial(_of_kind, kind) for kind in first.by_kind})


def _of_kind(kind: str, summary: Summary) -> Estimate | None:
    return summary.by_kind.get(kind)


def _table(title: str, columns: Sequence[Row], measures: Mapping[str, Measure]) -> Table:
    table = Table(title=title)
    table.add_column("", no_wrap=True)
    for row in columns:
        table.add_column(row.name if row.step is None else f"{row.name}, step {row.step:,}", justify="right")
    for name, measure in measures.items():
        table.add_row(name, *(percent(measure(row.summary)) for row in columns))
    return table
