"""``motif compare``: training runs side by side."""

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tyro
from rich.console import Console
from rich.table import Table

from base.errors import InputError
from base.storage.folder import Folder
from infra.options import parse

if TYPE_CHECKING:
    from training.validation.compare import Comparison, RunSummary


@dataclass(frozen=True)
class Options:
    """Show runs side by side: settings that differ, losses, speed, and the first step at which losses differ."""

    runs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Folders of runs, local or s3://; the first is the reference."""
    out: str = ""
    """Folder for compare.json and losses.png."""
    window: int | None = None
    """Steps to smooth losses over; by default a tenth of the shortest run, 100 at most."""


def main(args: list[str]) -> None:
    """Run the command."""
    options = parse(Options, args, "motif compare")
    if len(options.runs) < 2:
        raise InputError("motif compare: name at least two runs. Usage: motif compare RUN RUN [...] [--out FOLDER].")
    if options.window is not None and options.window < 1:
        raise InputError(f"--window {options.window}: must be at least 1 step.")
    from training.validation.compare import compare, curves_figure  # torch, which --help does without

    found = compare(options.runs, options.window)
    if options.out:
        out = Folder(options.out)
        out.write("compare.json", json.dumps(found.to_json(), indent=2).encode())
        out.write("losses.png", curves_figure(found))
    _show(found)
    print(json.dumps(found.to_json()))


def _show(found: "Comparison") -> None:
    table = Table()
    table.add_column("")
    for run in found.runs:
        table.add_column(run.name)
    for name, values in found.settings.items():
        table.add_row(name, *("-" if value is None else str(value) for value in values))
    table.add_section()
    table.add_row("data", *("\n".join(f"{uri}, {clips:,} clips" for uri, clips in r.data.items()) for r in found.runs))
    table.add_row("steps", *(f"{run.steps:,}" for run in found.runs))
    for term in dict.fromkeys(term for run in found.runs for term in run.last):
        table.add_row(f"{term}, last step", *(_number(run.last.get(term)) for run in found.runs))
        table.add_row(f"{term}, last {found.window}", *(_number(run.smoothed.get(term)) for run in found.runs))
    table.add_row("clips per second", *(f"{run.clips_per_s:.3g}" for run in found.runs))
    table.add_row("losses", "", *(_trace(run) for run in found.runs[1:]))
    Console(file=sys.stderr).print(table)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _trace(run: "RunSummary") -> str:
    if run.first_difference is None:
        return f"identical for {run.shared_steps:,} steps"
    return f"differ from step {run.first_difference:,} on"
