"""``motif report``: training runs and what was measured of their models, as one HTML page."""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from base.errors import InputError
from base.storage.folder import Folder
from infra.options import command_line, parse, report


@dataclass(frozen=True)
class Options:
    """Write one HTML page about a training run, or about several side by side; it is self-contained.

    What lies in a run is found: its steps, its samples, and the results in RUN/validation (motif validate --out) and
    RUN/sprites (motif evaluate sprites --out). Results elsewhere are named by the options. What is missing is named on
    the page, with the command that makes it.
    """

    runs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Folders of runs, local or s3://; the first is the reference."""
    out: str = "report.html"
    """The page, an .html file; local or s3://."""
    validation: tuple[str, ...] = ()
    """Folders of `motif validate --out`, for figure 6."""
    sprites: tuple[str, ...] = ()
    """Folders of `motif evaluate sprites --out`."""
    metrics: tuple[str, ...] = ()
    """Files of `motif metrics --out`."""
    study: tuple[str, ...] = ()
    """Files of `motif study score --out`."""
    samples: tuple[str, ...] = ()
    """Folders of `motif sample --out`, made of the same --pairs."""
    num: int = 4
    """Sample videos of each kind."""
    json: bool = False
    """Print the report's numbers as one JSON object instead of the page's path."""


def main(args: list[str]) -> None:
    """Run the command."""
    options = parse(Options, args, "motif report")
    if not options.runs:
        raise InputError(
            "motif report: RUN is missing. Usage: motif report RUN [RUN ...] [--out report.html] [OPTIONS]."
        )
    if options.num < 1:
        raise InputError(f"--num {options.num}: must be at least 1.")
    if Path(options.out).suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--out {options.out}: must be an .html file.")
    from evaluation.report.page import to_html  # torch, which --help does without
    from evaluation.report.report import ReportJob, make_report

    job = ReportJob(
        runs=options.runs,
        validation=options.validation,
        sprites=options.sprites,
        metrics=options.metrics,
        study=options.study,
        samples=options.samples,
        num=options.num,
        command=command_line("motif report", args),
    )
    found = make_report(job)
    folder, slash, name = options.out.rpartition("/")
    Folder(folder or slash or ".").write(name, to_html(found).encode())
    for one in found.missing:
        report(f"missing: {one.what}")
    if options.json:
        print(json.dumps({"page": options.out, **found.to_json()}, indent=2))
        return
    report("Open this page in a browser:")
    print(options.out)
