"""``motif validate``: the error of runs on held-out clips, in moving regions and overall."""

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.table import Table

from base.errors import InputError
from base.storage.folder import Folder
from infra.options import command_line, parse, plural, report
from training.validation.options import Options as Measuring

if TYPE_CHECKING:  # they import torch, which takes seconds and which --help does not need
    from training.validation.ratio import Estimate
    from training.validation.validate import Validation


@dataclass(frozen=True)
class Options:
    """Measure runs on held-out clips by timestep: loss in moving regions over loss overall (MotiF, figure 6).

    A run is the folder of a run (its newest checkpoint is used) or a model folder. The first is the reference.
    """

    runs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Folders of runs, or model folders; local or s3://."""
    data: str = ""
    """The held-out dataset, or a view saved by ``motif dataset filter``."""
    out: str = ""
    """Folder for validation.json and validation.png."""
    allow_training_data: bool = False
    """Also measure runs that were trained on some of these clips."""
    measuring: Annotated[Measuring, tyro.conf.arg(name="")] = Measuring()


def main(args: list[str]) -> None:
    """Run the command."""
    options = read(args)
    from training.validation.figure import ratio_figure
    from training.validation.validate import ValidationJob, validate

    job = ValidationJob(options.runs, options.data, options.measuring, options.allow_training_data)
    found = validate(job, report)
    result = {"command": command_line("motif validate", args), **found.to_json()}
    if options.out:
        out = Folder(options.out)
        out.write("validation.json", json.dumps(result, indent=2).encode())
        out.write("validation.png", ratio_figure(found))
    _show(found)
    print(json.dumps(result))


def read(args: list[str]) -> Options:
    """The options of a command line; InputError if they are wrong."""
    options = parse(Options, args, "motif validate")
    if not options.runs:
        raise InputError(
            "motif validate: RUN is missing. Usage: motif validate RUN [RUN ...] --data HELDOUT [OPTIONS]."
        )
    if not options.data:
        raise InputError("--data is missing: give a dataset of clips that no run was trained on, or a view of one.")
    return options


def _show(found: "Validation") -> None:
    left_out = f", {found.clips_without_mask:,} without motion left out" if found.clips_without_mask else ""
    table = Table(title=f"loss in mask / loss overall, {plural(found.clips, 'clip')}{left_out} (95 % interval)")
    table.add_column("timestep", justify="right")
    for number, run in enumerate(found.runs):
        table.add_column(run.name, justify="right")
        if number:
            table.add_column("- first", justify="right")
    for row in zip(*(run.by_timestep for run in found.runs), strict=True):
        _add(table, str(row[0].timestep), [(losses.ratio, losses.difference) for losses in row])
    table.add_section()
    _add(table, "mean", [(run.ratio, run.difference) for run in found.runs])
    Console(file=sys.stderr).print(table)


def _add(table: Table, name: str, values: "list[tuple[Estimate, Estimate]]") -> None:
    cells = [_told(values[0][0], "")]
    for ratio, difference in values[1:]:
        cells += [_told(ratio, ""), _told(difference, "+")]
    table.add_row(name, *cells)


def _told(estimate: "Estimate", sign: str) -> str:
    value, low, high = (f"{number:{sign}.2f}" for number in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low}, {high})"
