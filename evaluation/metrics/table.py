"""The result of a measurement as tables for people."""

from collections.abc import Iterator

from rich import box
from rich.table import Table

from evaluation.metrics.result import Mean, Result


def tables(result: Result) -> Iterator[Table]:
    """The metrics, and those that were not computed."""
    yield _computed(result)
    yield _not_computed(result)


def _computed(result: Result) -> Table:
    size = f"{result.frames} frames of {result.height} x {result.width} at {result.fps:g} per second"
    title = f"{_plural(result.count, 'video')} of {_plural(result.scenes, 'scene')}, {size}"
    caption = "static: the first frame repeated; in brackets: 95 % interval over scenes"
    table = _table(title, caption)
    table.add_column("")
    for name in ("videos", "static", "difference"):
        table.add_column(name, justify="right")
    group = ""
    for name, row in result.metrics.items():
        if row.group != group:
            group = row.group
            table.add_section()
            table.add_row(f"[bold]{group}[/bold]")
        digits = digits_of(row.videos.value)
        static = format_number(row.static.value, digits)
        table.add_row(name, format_mean(row.videos, digits), static, format_mean(row.difference, digits))
    if result.fvd is not None:
        fvd = result.fvd
        digits = digits_of(fvd.videos)
        table.add_section()
        table.add_row(f"[bold]{fvd.reference:,} real videos[/bold]")
        values = (fvd.videos, fvd.static, fvd.videos - fvd.static)
        table.add_row("fvd", *(format_number(value, digits) for value in values))
    return table


def _not_computed(result: Result) -> Table:
    table = _table("not computed")
    table.add_column("")
    table.add_column("why")
    for name, why in result.not_computed.items():
        table.add_row(name, why)
    return table


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _table(title: str, caption: str = "") -> Table:
    """Without lines between columns, so that all of it fits a terminal of 80 characters."""
    lines = box.SIMPLE_HEAD
    return Table(title=title, caption=caption, box=lines, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def digits_of(value: float) -> int:
    """How many decimals a metric of this size is shown with."""
    return 2 if abs(value) >= 10 else 3


def format_mean(mean: Mean, digits: int) -> str:
    """Such as ``0.912 [0.900, 0.924]``."""
    value = format_number(mean.value, digits)
    if mean.low is None or mean.high is None:
        return value
    return f"{value} [{format_number(mean.low, digits)}, {format_number(mean.high, digits)}]"


def format_number(value: float, digits: int) -> str:
    """With so many decimals."""
    return f"{round(value, digits) + 0.0:.{digits}f}"  # never -0.000
