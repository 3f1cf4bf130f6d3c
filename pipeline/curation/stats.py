"""Statistics of a dataset."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.parts.tables import part_names, read_parts
from dataset.rejects import read_rejects
from dataset.view import scalars
from pipeline.curation.clips import clip_shape


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
    """Compute the statistics without reading tensors."""
    catalog = Catalog.require(dataset)
    shape = clip_shape(catalog)
    parts = part_names(dataset / "clips")
    clips = scalars(dataset, ())
    captions = set(clips.column("text_id").to_pylist())
    artifacts: dict[str, ArtifactStats] = {}
    scores: dict[str, Spread] = {}
    for name, artifact in catalog.artifacts.items():
        if artifact.per_clip:
            rows, wanted = scalars(dataset, (name,)).num_rows, clips.num_rows
            found = _scores(dataset, catalog, name)
            scores |= {(key if key not in scores else f"{name}/{key}"): spread for key, spread in found.items()}
        else:
            there = read_parts(dataset / name, ["text_id"])
            known = set(there.column("text_id").to_pylist()) if there.num_rows else set()
            rows, wanted = len(known & captions), len(captions)
        size = sum(entry.size for entry in (dataset / name).files(".parquet")) / 1e6
        artifacts[name] = ArtifactStats(artifact.kind, artifact.fingerprint, rows, wanted - rows, round(size, 3))
    rejects = Counter(
        f"{row['outcome']}, {row['stage']}: {row['error_class']}" for row in read_rejects(dataset).to_pylist()
    )
    seconds = shape.frames * float(np.sum(1 / np.asarray(clips.column("fps")))) if clips.num_rows else 0.0
    return Stats(
        clips=clips.num_rows,
        videos=len(set(clips.column("content").to_pylist())),
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
        rejects=dict(rejects.most_common()),
    )


def _scores(dataset: Folder, catalog: Catalog, name: str) -> dict[str, Spread]:
    """The spread of an artifact's scalar columns."""
    table = scalars(dataset, (name,))
    columns = [column for column, facts in catalog.artifacts[name].columns.items() if "shape" not in facts]
    return {column: Spread.of(np.asarray(table.column(column))) for column in columns if table.num_rows}


def _counts(table: pa.Table, column: str) -> dict[str, int]:
    return {str(key): count for key, count in Counter(table.column(column).to_pylist()).most_common()}
