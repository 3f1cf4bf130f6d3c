"""``motif inspect``: a dataset as one HTML page."""

from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError
from base.storage.folder import Folder
from base.storage.uri import is_remote, local_path
from infra.options import parse, report, take_positional


@dataclass(frozen=True)
class Options:
    """Write one HTML page with clips, heatmaps over them, captions, histograms and rejects; it is self-contained."""

    out: Path | None = None
    """The page; by default DATASET/inspect.html, or ./inspect.html for a dataset in an object store."""
    num: int = 24
    """Number of clips, from still to lively."""
    seed: int = 0
    """Selects the clips."""
    where: tuple[str, ...] = ()
    """Rules a clip must meet, such as "moving_share>=0.1"."""
    heatmaps: str | None = None
    """Which heatmaps to show alone, if the dataset has several; by default all, side by side."""


def main(args: list[str]) -> None:
    """Run the command."""
    place, rest = take_positional(args, "DATASET", "motif inspect")
    options = parse(Options, rest, f"motif inspect {place or 'DATASET'}")
    if options.num < 1:
        raise InputError(f"--num {options.num}: must be at least 1.")
    out = options.out or (Path("inspect.html") if is_remote(place) else local_path(place) / "inspect.html")
    from pipeline.report.page import ReportOptions, write_report  # torch, which --help does without

    write_report(Folder(place), out, ReportOptions(options.num, options.seed, options.where, options.heatmaps))
    report("Open this page in a browser:")
    print(out)
