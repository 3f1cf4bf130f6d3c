"""Which clips a report shows: spread evenly over how much they move, so that both ends are seen."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from diffusion.errors import InputError
from diffusion.storage import Folder
from pipeline.dataset.catalog import Catalog
from pipeline.dataset.parts import part_names
from pipeline.dataset.rules import Rule
from pipeline.dataset.schema import Column
from pipeline.dataset.view import scalars

MOTION = "mean_intensity"


@dataclass
class Shown:
    """A clip on the page: its columns, its scores, and its heatmap (0 to 1, ``[t h w]``) where it has one."""

    clip: dict[str, Any]
    scores: dict[str, float] = field(default_factory=dict)
    heatmap: np.ndarray | None = None


def choose(dataset: Folder, heatmaps: str | None, num: int, seed: int, where: tuple[str, ...]) -> list[Shown]:
    """At most ``num`` clips, from still to lively: one drawn at random from each of ``num`` equal shares of them.

    InputError where the rules ``where`` leave none.
    """
    table = scalars(dataset, (heatmaps,) if heatmaps else ())
    for text in where:
        table = table.filter(Rule.parse(text).mask(table))
    if where and not table.num_rows:
        raise InputError(f"no clip of {dataset.uri} meets all of: {', '.join(where)}. Loosen a rule.")
    if MOTION in table.column_names:
        table = table.sort_by(MOTION)
    rng = np.random.default_rng(seed)
    edges = np.linspace(0, table.num_rows, min(num, table.num_rows) + 1).astype(int)
    rows = [int(rng.integers(low, high)) for low, high in pairwise(edges)]
    names = [] if heatmaps is None else _score_columns(dataset, heatmaps)
    shown = []
    for row in table.take(pa.array(rows, pa.int64())).to_pylist():
        shown.append(Shown(row, {name: row[name] for name in names if name in row}))
    if heatmaps:
        _add_heatmaps(dataset / heatmaps, {one.clip["clip_id"]: one for one in shown})
    return shown


def _score_columns(dataset: Folder, heatmaps: str) -> list[str]:
    columns = Catalog.require(dataset).artifacts[heatmaps].columns
    return [name for name, facts in columns.items() if "shape" not in facts]


def _add_heatmaps(folder: Folder, shown: dict[str, Shown]) -> None:
    for part in part_names(folder):
        ids = folder.read_table(part, ["clip_id"]).column("clip_id").to_pylist()
        rows = [row for row, clip in enumerate(ids) if clip in shown]
        if rows:
            table = folder.read_table(part, ["heatmap"]).take(pa.array(rows))
            column = Column.of(table.schema.field("heatmap"))
            values = column.to_numpy(table.column("heatmap")).astype(np.float32) * column.scale
            for row, value in zip(rows, values, strict=True):
                shown[ids[row]].heatmap = value
