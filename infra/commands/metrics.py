"""``motif metrics``: numbers for the videos of a model, beside those of a static baseline."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from base.storage.folder import Folder
from evaluation.metrics.settings import Settings, check
from infra.options import command_line, parse, report, take_positional


@dataclass(frozen=True)
class Options:
    """Measure a folder of mp4 files: alignment with image and prompt, consistency, motion, and FVD.

    Beside each metric is its value for the static baseline, the first frame repeated. A metric whose weights are not
    given is named as not computed.
    """

    out: str = ""
    """Also write the result to this JSON file; local or s3://."""
    settings: Annotated[Settings, tyro.conf.arg(name="")] = Settings()


def main(args: list[str]) -> None:
    """Run the command."""
    place, rest = take_positional(args, "VIDEOS", "motif metrics")
    options = parse(Options, rest, f"motif metrics {place or 'VIDEOS'}")
    check(options.settings)
    from evaluation.metrics.measure import measure  # torch, which --help does without
    from evaluation.metrics.table import tables

    result = measure(Path(place), options.settings, report)
    made = {"command": command_line("motif metrics", args), "videos": place}
    text = json.dumps({**made, **asdict(result)}, indent=2, allow_nan=False)
    console = Console(stderr=True)
    for table in tables(result):
        console.print(table)
    print(text)  # before the file, which may fail after hours of work
    if options.out:
        folder, _, name = options.out.rpartition("/")
        Folder(folder or ".").write(name, text.encode())
