"""Automatic metrics of folders of videos, from results of ``motif metrics``, each beside its static baseline."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from evaluation.metrics.registry import METRICS
from evaluation.metrics.result import Result
from evaluation.metrics.table import digits_of, format_mean, format_number
from evaluation.report.content import Missing, Section, Table
from evaluation.report.results import Found

_TEXT = (
    "Means over a folder of videos, with 95 % intervals over scenes. Static: each video's first frame repeated. A "
    "video in which nothing moves has the best consistency, flickering and image alignment there can be, so read "
    "them next to the metrics of motion, and as differences to the static baseline."
)

_FORM = "motif metrics VIDEOS --prompts PAIRS.csv --out METRICS.json"


def metrics_section(results: Sequence[Found[Result]]) -> Section:
    """The section."""
    names = _names(results)
    tables: list[Table] = []
    if results:
        tables = [_values_table(results, names), _facts(results, names), _not_computed(results, names)]
    return Section(
        key="metrics",
        title="Automatic metrics",
        text=_TEXT,
        notes=tuple(_unlike(results, names)),
        tables=tuple(table for table in tables if table.rows),
        missing=()
        if results
        else (
            Missing(
                "automatic metrics: no result of `motif metrics`", (f"{_FORM}; then give --metrics METRICS.json here",)
            ),
        ),
        commands=tuple(found.made_by(_FORM) for found in results),
        values=[_values(found) for found in results] or None,
    )


def _names(results: Sequence[Found[Result]]) -> list[str]:
    """A name for each folder of videos: its last part, or all of it if two have the same."""
    last = [(found.videos or found.file).rstrip("/").rpartition("/")[2] for found in results]
    return [name if last.count(name) == 1 else found.place for name, found in zip(last, results, strict=True)]


def _values_table(results: Sequence[Found[Result]], names: Sequence[str]) -> Table:
    columns = ["metric", "what"]
    for name in names:
        columns += [f"{name}: videos", "static", "difference"]
    rows = []
    for metric in METRICS:
        if any(metric.name in found.result.metrics for found in results):
            cells = [cell for found in results for cell in _cells(found.result, metric.name)]
            rows.append((metric.name, f"{metric.group}: {metric.about}", *cells))
    if any(found.result.fvd for found in results):
        rows.append(("fvd", "Fréchet distance to real videos", *(c for found in results for c in _fvd(found.result))))
    return Table(tuple(columns), tuple(rows))


def _cells(result: Result, name: str) -> tuple[str, str, str]:
    row = result.metrics.get(name)
    if row is None:
        return "-", "-", "-"
    digits = digits_of(row.videos.value)
    return format_mean(row.videos, digits), format_number(row.static.value, digits), format_mean(row.difference, digits)


def _fvd(result: Result) -> tuple[str, str, str]:
    if result.fvd is None:
        return "-", "-", "-"
    values = (result.fvd.videos, result.fvd.static, result.fvd.videos - result.fvd.static)
    videos, static, difference = (format_number(value, digits_of(value)) for value in values)
    return f"{videos} ({result.fvd.reference:,} real)", static, difference


def _facts(results: Sequence[Found[Result]], names: Sequence[str]) -> Table:
    rows = []
    for name, found in zip(names, results, strict=True):
        one = found.result
        size = f"{one.frames} frames of {one.height} x {one.width} at {one.fps:g} per second"
        weights = ", ".join(f"{network} {digest[:12]}" for network, digest in one.weights.items())
        rows.append(
            (name, f"{one.count:,} of {one.scenes:,} scenes, {size}", weights or "none", found.videos, found.place)
        )
    return Table(("", "videos", "weights", "folder", "result"), tuple(rows), "What was measured")


def _not_computed(results: Sequence[Found[Result]], names: Sequence[str]) -> Table:
    every = dict.fromkeys(name for found in results for name in found.result.not_computed)
    rows = tuple((name, *(found.result.not_computed.get(name, "computed") for found in results)) for name in every)
    return Table(("", *names), rows, "Not computed, and why")


def _unlike(results: Sequence[Found[Result]], names: Sequence[str]) -> list[str]:
    """What keeps the folders from being compared."""
    notes = []
    for title, of in _ALIKE.items():
        values = [of(found.result) for found in results]
        if any(value != values[0] for value in values):
            notes.append(f"Not comparable: {title} differ ({', '.join(names)}).")
    return notes


_ALIKE: dict[str, Callable[[Result], object]] = {
    "numbers of videos or scenes": lambda one: (one.count, one.scenes),
    "names of videos": lambda one: set(one.per_video),
    "lengths, sizes or rates": lambda one: (one.frames, one.height, one.width, one.fps),
    "weights of networks": lambda one: dict(one.weights),
}


def _values(found: Found[Result]) -> dict[str, Any]:
    """A result without the values of single videos."""
    values = asdict(found.result)
    del values["per_video"]
    return {"file": found.place, "videos": found.videos, **values}
