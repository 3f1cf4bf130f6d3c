"""Chooses the clips of a report, spread evenly over the amount of motion."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from base.errors import InputError
from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.heatmap.heatmap import stored_heatmap
from dataset.heatmap.normalisation import Normalisation
from dataset.parts.listing import list_parts
from dataset.parts.part_file import read_part
from dataset.parts.schema import Column
from dataset.rules import Rule
from dataset.view import PART, scalar_titles, scalars
from pipeline.curation.clips import clip_shape
from pipeline.featurizers.heatmaps import WITH_CAMERA

MOTION = ("mean_intensity", "moving_share")
"""Scores by which clips go from still to lively; the first that there is counts."""


@dataclass
class Shown:
    """A clip on the page: its columns, its part, scores, and heatmap (0 to 1, ``[t h w]``) if it has one.

    ``with_camera`` is the heatmap before camera compensation, if that was used; ``others`` are heatmaps of other
    artifacts, by their names.
    """

    clip: dict[str, Any]
    part: str
    scores: dict[str, float] = field(default_factory=dict)
    heatmap: np.ndarray | None = None
    with_camera: np.ndarray | None = None
    others: dict[str, np.ndarray] = field(default_factory=dict)


def read_scores(dataset: Folder, heatmaps: str | None, where: tuple[str, ...]) -> pa.Table:
    """Id, part and scores of all clips (that have heatmaps), and the columns that the rules ``where`` ask for."""
    artifacts = (heatmaps,) if heatmaps else ()
    rules = [Rule.parse(text) for text in where]
    for rule in rules:
        rule.check(scalar_titles(dataset, artifacts))
    scores = _score_columns(dataset, heatmaps) if heatmaps else []
    return scalars(dataset, artifacts, {PART, *scores, *(rule.column for rule in rules)})


def choose(
    dataset: Folder,
    heatmaps: str | None,
    num: int,
    seed: int,
    where: tuple[str, ...],
    scores: pa.Table | None = None,
) -> list[Shown]:
    """At most ``num`` clips, from still to lively: one drawn at random from each of ``num`` equal shares.

    ``scores``: what :func:`read_scores` gives, if it is known. InputError if no clip meets the rules ``where``.
    """
    table = read_scores(dataset, heatmaps, where) if scores is None else scores
    for text in where:
        table = table.filter(Rule.parse(text).mask(table))
    if where and not table.num_rows:
        raise InputError(f"no clip of {dataset.uri} meets all of: {', '.join(where)}. Relax a rule.")
    if motion := next((name for name in MOTION if name in table.column_names), None):
        table = table.sort_by(motion)
    rng = np.random.default_rng(seed)
    edges = np.linspace(0, table.num_rows, min(num, table.num_rows) + 1).astype(int)
    chosen = table.take(pa.array([int(rng.integers(low, high)) for low, high in pairwise(edges)], pa.int64()))
    parts = sorted(set(chosen.column(PART).to_pylist()))
    clips = scalars(dataset, (heatmaps,) if heatmaps else (), parts=parts)
    by_id = {row["clip_id"]: row for row in clips.to_pylist()}
    names = [] if heatmaps is None else _score_columns(dataset, heatmaps)
    shown = []
    for clip, part in zip(chosen.column("clip_id").to_pylist(), chosen.column(PART).to_pylist(), strict=True):
        row = by_id[clip]
        shown.append(Shown(row, part, {name: row[name] for name in names if name in row}))
    if heatmaps:
        wanted = {one.clip["clip_id"]: one for one in shown}
        _add_heatmaps(dataset / heatmaps, parts, wanted)
        catalog = Catalog.require(dataset)
        if WITH_CAMERA in catalog.artifacts[heatmaps].columns:
            _add_with_camera(dataset / heatmaps, parts, wanted, catalog, heatmaps)
    return shown


def add_heatmaps(dataset: Folder, shown: Sequence[Shown], artifacts: Sequence[str]) -> None:
    """Add the heatmaps of other artifacts to the clips that have them."""
    wanted = {one.clip["clip_id"]: one for one in shown}
    listed = list_parts(dataset, tuple(artifacts))
    for name in artifacts:
        parts = sorted({one.part for one in shown}.intersection(listed[name]))
        for clip, (heatmap,) in _values(dataset / name, parts, wanted, ["heatmap"]):
            wanted[clip].others[name] = heatmap


def _score_columns(dataset: Folder, heatmaps: str) -> list[str]:
    columns = Catalog.require(dataset).artifacts[heatmaps].columns
    return [name for name, facts in columns.items() if "shape" not in facts]


def _add_heatmaps(folder: Folder, parts: Sequence[str], shown: dict[str, Shown]) -> None:
    for clip, (heatmap,) in _values(folder, parts, shown, ["heatmap"]):
        shown[clip].heatmap = heatmap


def _add_with_camera(
    folder: Folder, parts: Sequence[str], shown: dict[str, Shown], catalog: Catalog, heatmaps: str
) -> None:
    settings = catalog.artifacts[heatmaps].identity["normalisation"]
    shape = clip_shape(catalog)
    for clip, (mean, greatest) in _values(folder, parts, shown, [WITH_CAMERA, f"{WITH_CAMERA}_max"]):
        heatmap = stored_heatmap(Normalisation(**settings), mean[None], greatest[None], shape.height, shape.width)
        shown[clip].with_camera = heatmap[0].numpy()


def _values(
    folder: Folder, parts: Sequence[str], shown: dict[str, Shown], names: list[str]
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Columns of the shown clips, which are in these parts, in their units."""
    for part in parts:
        ids = read_part(folder, part, ["clip_id"]).column("clip_id").to_pylist()
        rows = [row for row, clip in enumerate(ids) if clip in shown]
        if rows:
            table = read_part(folder, part, names).take(pa.array(rows))
            columns = [Column.of(table.schema.field(name)) for name in names]
            found = [c.to_numpy(table.column(c.name)).astype(np.float32) * c.scale for c in columns]
            for at, row in enumerate(rows):
                yield ids[row], [values[at] for values in found]
