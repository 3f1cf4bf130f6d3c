"""Chooses the clips of a report, spread evenly over the amount of motion."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from base.errors import InputError
from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.heatmap import Normalisation, stored_heatmap
from dataset.parts.part_file import read_part
from dataset.parts.schema import Column
from dataset.parts.tables import part_names
from dataset.rules import Rule
from dataset.view import scalars
from pipeline.curation.clips import clip_shape
from pipeline.featurizers.heatmaps import WITH_CAMERA

MOTION = "mean_intensity"


@dataclass
class Shown:
    """A clip on the page: its columns, scores, and heatmap (0 to 1, ``[t h w]``) if it has one.

    ``with_camera`` is the heatmap before camera compensation, if that was used.
    """

    clip: dict[str, Any]
    scores: dict[str, float] = field(default_factory=dict)
    heatmap: np.ndarray | None = None
    with_camera: np.ndarray | None = None


def choose(dataset: Folder, heatmaps: str | None, num: int, seed: int, where: tuple[str, ...]) -> list[Shown]:
    """At most ``num`` clips, from still to lively: one drawn at random from each of ``num`` equal shares.

    InputError if no clip meets the rules ``where``.
    """
    table = scalars(dataset, (heatmaps,) if heatmaps else ())
    for text in where:
        table = table.filter(Rule.parse(text).mask(table))
    if where and not table.num_rows:
        raise InputError(f"no clip of {dataset.uri} meets all of: {', '.join(where)}. Relax a rule.")
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
        by_id = {one.clip["clip_id"]: one for one in shown}
        _add_heatmaps(dataset / heatmaps, by_id)
        catalog = Catalog.require(dataset)
        if WITH_CAMERA in catalog.artifacts[heatmaps].columns:
            _add_with_camera(dataset / heatmaps, by_id, catalog, heatmaps)
    return shown


def _score_columns(dataset: Folder, heatmaps: str) -> list[str]:
    columns = Catalog.require(dataset).artifacts[heatmaps].columns
    return [name for name, facts in columns.items() if "shape" not in facts]


def _add_heatmaps(folder: Folder, shown: dict[str, Shown]) -> None:
    for clip, (heatmap,) in _values(folder, shown, ["heatmap"]):
        shown[clip].heatmap = heatmap


def _add_with_camera(folder: Folder, shown: dict[str, Shown], catalog: Catalog, heatmaps: str) -> None:
    settings = catalog.artifacts[heatmaps].identity["normalisation"]
    shape = clip_shape(catalog)
    for clip, (mean, greatest) in _values(folder, shown, [WITH_CAMERA, f"{WITH_CAMERA}_max"]):
        heatmap = stored_heatmap(Normalisation(**settings), mean[None], greatest[None], shape.height, shape.width)
        shown[clip].with_camera = heatmap[0].numpy()


def _values(folder: Folder, shown: dict[str, Shown], names: list[str]) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Columns of the shown clips, in their units."""
    for part in part_names(folder):
        ids = read_part(folder, part, ["clip_id"]).column("clip_id").to_pylist()
        rows = [row for row, clip in enumerate(ids) if clip in shown]
        if rows:
            table = read_part(folder, part, names).take(pa.array(rows))
            columns = [Column.of(table.schema.field(name)) for name in names]
            found = [c.to_numpy(table.column(c.name)).astype(np.float32) * c.scale for c in columns]
            for at, row in enumerate(rows):
                yield ids[row], [values[at] for values in found]
