"""``motif calibrate``: the effect of each reading of the paper's normalisation on a dataset's clips."""

import dataclasses
import json
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from base.errors import InputError
from base.storage.folder import Folder
from infra.options import parse, take_positional

if TYPE_CHECKING:
    from pipeline.curation.calibrate import Calibration, Effect


@dataclasses.dataclass(frozen=True)
class Options:
    """Compare the normalisations of the motion heatmap on clips whose flow intensity is stored; no flow is computed.

    Heatmaps without an intensity, such as masks, are shown beside them as they are.
    """

    artifact: str | None = None
    """Which heatmaps to show alone; needed if several have an intensity."""
    limit: int | None = None
    """Largest number of clips to read."""


def main(args: list[str]) -> None:
    """Run the command."""
    place, rest = take_positional(args, "DATASET", "motif calibrate")
    options = parse(Options, rest, f"motif calibrate {place or 'DATASET'}")
    if options.limit is not None and options.limit < 1:
        raise InputError(f"--limit {options.limit}: must be at least 1.")
    from pipeline.curation.calibrate import calibrate  # torch, which --help does without

    found = calibrate(Folder(place), options.artifact, options.limit)
    _show(found)
    print(json.dumps({"dataset": place, **dataclasses.asdict(found)}))


def _show(found: "Calibration") -> None:
    table = Table(title=f"{found.clips:,} clips")
    table.add_column("camera", no_wrap=True)
    table.add_column("normalisation", no_wrap=True)
    for name in ("0.5 at px per frame", "cells above 0.5", "clips all dark", "mostly lit", "all lit", "mean weight"):
        table.add_column(name, justify="right")
    for camera, effects in found.cameras.items():
        for name, effect in effects.items():
            centre = "by clip" if effect.centre_px is None else f"{effect.centre_px:g}"
            table.add_row(camera, name, centre, *_shares(effect))
        table.add_section()
    for name, effect in found.stored.items():
        table.add_row("", f"{name}, as stored", "", *_shares(effect))
    console = Console(file=sys.stderr)
    console.print(table)
    if found.cameras:
        _advise(console, found)


def _shares(effect: "Effect") -> list[str]:
    shares = (effect.lit, effect.dark_clips, effect.mostly_lit_clips, effect.lit_clips)
    return [*(f"{share:.1%}" for share in shares), f"{effect.weight:.3f}"]


def _advise(console: Console, found: "Calibration") -> None:
    lines = [
        "A useful reading lights up what moves: few cells are lit, only still clips are all dark, none is all lit. The "
        "first is the default. Choose another with --features.heatmaps.normalisation.unit and .fraction."
    ]
    mostly = next(iter(found.effects.values())).mostly_lit_clips
    if len(found.cameras) == 1 and mostly:
        lines.append(
            f"In {mostly:.1%} of the clips more than half of the cells are lit. If a moving camera is the reason, "
            "compute heatmaps with --features.heatmaps.camera homography; this table then shows both."
        )
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
