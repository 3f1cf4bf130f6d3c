"""The tables beside the videos: prompts for metrics and studies, and what each video was made with."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from base.storage.folder import Folder
from evaluation.bench.dataset import Pair
from evaluation.bench.video_facts import VideoFacts

PROMPTS, VIDEOS = "prompts.csv", "videos.csv"
_MADE_WITH = (
    *("revision", "step", "steps", "guidance", "guidance_rescale", "eta", "spacing", "solver"),
    "guidance_interval",
    *("clip", "precision", "encoders", "process"),
)
"""Tags of `motif`'s videos; empty for those of others."""


@dataclass(frozen=True)
class Row:
    """A video in the folder."""

    pair: Pair
    file: str
    seed: int
    model: str
    facts: VideoFacts
    source: str = ""
    """The file that it is a copy of."""


def write_tables(out: Path, rows: Iterable[Row]) -> None:
    """Write both tables into the folder of the videos, which is local. Paths of images are relative to it."""
    ordered = sorted(rows, key=lambda row: row.file)
    prompts = [(Path(row.file).stem, row.pair.prompt, _relative(row, out), row.pair.scene) for row in ordered]
    folder = Folder(str(out))
    folder.write(PROMPTS, _csv(("name", "prompt", "image", "scene"), prompts))
    folder.write(VIDEOS, _csv(tuple(_values(ordered[0], out)), [tuple(_values(row, out).values()) for row in ordered]))


def _values(row: Row, out: Path) -> dict[str, str]:
    """The columns of a line of the table of videos."""
    pair, facts = row.pair, row.facts
    return {
        "name": Path(row.file).stem,
        "prompt": pair.prompt,
        "image": _relative(row, out),
        "scene": pair.scene,
        "image_id": pair.image_id,
        "prompt_slug": pair.slug,
        "seed": str(row.seed),
        "model": row.model,
        "frames": str(facts.frames),
        "height": str(facts.height),
        "width": str(facts.width),
        "fps": f"{facts.fps:g}",
        "content": facts.content,
        "source": row.source,
    } | {name: facts.tags.get(name, "") for name in _MADE_WITH}


def _relative(row: Row, out: Path) -> str:
    return os.path.relpath(row.pair.image.resolve(), out.resolve())


def _csv(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
