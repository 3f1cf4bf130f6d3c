"""Statistics of a dataset."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from base.storage.folder import Folder
from dataset.catalog import Artifact, Catalog
from dataset.parts.listing import list_entries
from dataset.parts.tables import CLIPS, join, read_each_part
from dataset.rejects import read_rejects
from pipeline.curation.clips import clip_shape

# Those columns of the clips that are counted.
_COLUMNS = ("content", "text_id", "fps", "codec", "stride", "decoder")


@dataclass(frozen=True)
class Spread:
    """The distribution of a score over clips."""

    least: float
    low: float
    """The 5th percentile."""
    median: float
    mean: float
    high: float
    """The 95th percentile."""
    greatest: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Spread":
        """The spread of at least one value."""
        least, low, median, high, greatest = np.quantile(values, (0, 0.05, 0.5, 0.95, 1))
        return cls(*(float(value) for value in (least, low, median, values.mean(), high, greatest)))


@dataclass(frozen=True)
class ArtifactStats:
    """One artifact: ``lacking`` counts clips (or captions) without it."""

    kind: str
    fingerprint: str
    rows: int
    lacking: int
    megabytes: float


@dataclass(frozen=True)
class Stats:
    """Statistics of a dataset."""

    clips: int
    videos: int
    captions: int
    parts: int
    hours: float
    """Total duration of the clips."""
    frames: int
    height: int
    width: int
    artifacts: dict[str, ArtifactStats]
    scores: dict[str, Spread]
    codecs: dict[str, int]
    strides: dict[str, int]
    decoders: dict[str, int]
    rejects: dict[str, int]
    """"outcome, stage: class" -> clips."""


def read_stats(dataset: Folder) -> Stats:
    """Compute the statistics without reading tensors; each part is read once."""
    catalog = Catalog.require(dataset)
    shape = clip_shape(catalog)
    listed = list_entries(dataset, ("clips", *catalog.artifacts))
    parts = [entry.name for entry in listed["clips"]]
    clips = join(read_each_part(dataset / "clips", list(_COLUMNS), parts), CLIPS)
    captions = set(clips.column("text_id").to_pylist())
    artifacts: dict[str, ArtifactStats] = {}
    scores: dict[str, Spread] = {}
    for name, artifact in catalog.artifacts.items():
        there = [entry.name for entry in listed[name]]
        if artifact.per_clip:
            table = _read_scores(dataset / name, artifact, sorted(set(parts).intersection(there)))
            rows, wanted = table.num_rows, clips.num_rows
            found = {column: Spread.of(np.asarray(table.column(column))) for column in table.column_names[1:] if rows}
            scores |= {(key if key not in scores else f"{name}/{key}"): spread for key, spread in found.items()}
        else:
            known = read_each_part(dataset / name, ["text_id"], there)
            rows = len(captions.intersection(key for table in known for key in table.column("text_id").to_pylist()))
            wanted = len(captions)
        size = sum(entry.size for entry in listed[name]) / 1e6
        artifacts[name] = ArtifactStats(artifact.kind, artifact.fingerprint, rows, wanted - rows, round(size, 3))
    seconds = shape.frames * float(np.sum(1 / np.asarray(clips.column("fps")))) if clips.num_rows else 0.0
    return Stats(
        clips=clips.num_rows,
        videos=len(pc.unique(clips.column("content"))),
        captions=len(captions),
        parts=len(parts),
        hours=round(seconds / 3600, 4),
        frames=shape.frames,
        height=shape.height,
        width=shape.width,
        artifacts=artifacts,
        scores=scores,
        codecs=_counts(clips, "codec"),
        strides=_counts(clips, "stride"),
        decoders=_counts(clips, "decoder"),
        rejects=_count_rejects(dataset),
    )


def _read_scores(folder: Folder, artifact: Artifact, parts: Sequence[str]) -> pa.Table:
    """The ids of the clips that have an artifact, and their scores."""
    columns = [column for column, facts in artifact.columns.items() if "shape" not in facts]
    table = join(read_each_part(folder, ["clip_id", *columns], parts), pa.schema([("clip_id", pa.string())]))
    return table.filter(table.column("clip_id").is_valid())


def _counts(table: pa.Table, column: str) -> dict[str, int]:
    return {str(key): count for key, count in Counter(table.column(column).to_pylist()).most_common()}


def _count_rejects(dataset: Folder) -> dict[str, int]:
    names = ("outcome", "stage", "error_class")
    rejects = read_rejects(dataset)
    columns = (rejects.column(name).to_pylist() for name in names)
    found = Counter(f"{outcome}, {stage}: {kind}" for outcome, stage, kind in zip(*columns, strict=True))
    return dict(found.most_common())
