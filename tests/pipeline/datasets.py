"""Small datasets for tests, written part by part as a run writes them: no video, no Ray."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from base.storage.folder import Folder
from dataset.catalog import Artifact, Catalog
from dataset.identity import text_id
from dataset.parts.part_file import read_part
from dataset.parts.schema import Column, describe
from dataset.parts.tables import (
    CLIPS,
    REJECTS,
    SOURCES,
    TEXT_KEYS,
    StoreOptions,
    part_facts,
    part_options,
    write_part,
)

STORE = StoreOptions(8, 2)
# The numbers of the clips in each part.
PARTS = {"part-a.parquet": range(8), "part-b.parquet": range(8, 16), "part-c.parquet": range(16, 19)}
CLIPS_IN_ALL = 19
COLUMNS = {
    "latents": (Column("mean", "float16", (2, 3), "c w"), Column("score", "float32")),
    "heatmaps": (
        Column("heatmap", "uint8", (4,), "t", 1 / 255),
        Column("score", "float32"),
        Column("count", "int32"),
    ),
}
STATES = Column("states", "float16", (3, 4), "l d")


def clip(number: int, **more: Any) -> dict[str, Any]:
    """A row of the clips."""
    caption = f"caption {number}"
    facts = {
        "clip_id": f"clip{number:02}",
        "slot": f"slot{number:02}",
        "uri": f"s3://b/{number:02}.mp4",
        "content": f"content{number:02}",
        "caption": caption,
        "text_id": text_id(caption),
        "first": number,
        "stride": 1,
        "fps": 10.0,
        "has_next": True,
        "source_fps": 10.0,
        "source_frames": 40 + number,
        "source_height": 300,
        "source_width": 400,
        "variable_rate": False,
        "turns": 0,
        "pixel_aspect": 1.0,
        "codec": "h264",
        "pixel_format": "yuv420p",
        "decoder": "pyav",
    }
    return facts | more


def reject(slot: str, **more: Any) -> dict[str, Any]:
    """A row of the rejects."""
    facts: dict[str, Any] = {"slot": slot, "uri": f"s3://b/{slot}.mp4", "artifact": "", "outcome": "failed"}
    facts |= {"stage": "decode", "error_class": "Timeout", "message": "no answer"}
    facts |= {"attempts": 1, "seconds": 0.0, "run": "run1"}
    return dict.fromkeys(REJECTS.names) | facts | more


def source(uri: str, **more: Any) -> dict[str, Any]:
    """A row of the sources."""
    facts: dict[str, Any] = {"uri": uri, "stamp": "", "content": f"content of {uri}", "frames": 40, "fps": 10.0}
    facts |= {"variable_rate": False, "height": 300, "width": 400, "turns": 0, "pixel_aspect": 1.0}
    return dict.fromkeys(SOURCES.names) | facts | more


def write_clips(dataset: Folder, part: str, clips: Sequence[dict[str, Any]]) -> None:
    """Write a part of clips."""
    write_part(dataset / "clips", part, pa.Table.from_pylist(clips, schema=CLIPS), STORE, {"fingerprint": "f"})


def write_rejects(dataset: Folder, part: str, rejects: Sequence[dict[str, Any]], clips_part: str = "") -> None:
    """Write a part of rejects, which counts once ``clips_part`` is there."""
    table = pa.Table.from_pylist(rejects, schema=REJECTS)
    write_part(dataset / "rejects", part, table, STORE, {"clips_part": clips_part})


def write_sources(dataset: Folder, part: str, sources: Sequence[dict[str, Any]], order: int) -> None:
    """Write a part of sources; a later one has a higher order."""
    table = pa.Table.from_pylist(sources, schema=SOURCES)
    write_part(dataset / "sources", part, table, STORE, {"order": str(order)})


def set_values(folder: Folder, part: str, column: str, values: pa.Array) -> None:
    """Write a part anew with other values of one column, as one that was computed so."""
    table, options, facts = read_part(folder, part), part_options(folder, part), part_facts(folder, part)
    at = table.column_names.index(column)
    write_part(folder, part, table.set_column(at, table.schema.field(column), values), options, facts)


def values(artifact: str, number: int) -> dict[str, np.ndarray]:
    """What an artifact holds for a clip."""
    if artifact == "latents":
        mean = np.random.default_rng(number).standard_normal((2, 3)).astype(np.float16)
        return {"mean": mean, "score": np.array(number, np.float32)}
    heatmap = np.random.default_rng(number).integers(0, 256, 4, np.uint8)
    return {"heatmap": heatmap, "score": np.array(-number, np.float32), "count": np.array(number, np.int32)}


def states(caption: str) -> np.ndarray:
    """The states of a caption."""
    return np.random.default_rng(list(caption.encode())).standard_normal((3, 4)).astype(np.float16)


def write_artifact(dataset: Folder, artifact: str, part: str, failed: set[int], store: StoreOptions = STORE) -> None:
    """Write the part of an artifact that belongs to a part of clips; ``failed`` clips become rows of nulls."""
    numbers = PARTS[part]
    good = np.array([number not in failed for number in numbers])
    ids = [clip(number)["clip_id"] if number not in failed else None for number in numbers]
    arrays = [pa.array(ids, pa.string())]
    for column in COLUMNS[artifact]:
        rows = np.stack([values(artifact, number)[column.name] for number in numbers])
        arrays.append(column.to_arrow(rows, good))
    fields = [pa.field("clip_id", pa.string()), *(column.field() for column in COLUMNS[artifact])]
    table = pa.table(arrays, schema=pa.schema(fields))
    write_part(dataset / artifact, part, table, store, {"fingerprint": "f"})


def write_dataset(dataset: Folder, failed: Mapping[str, set[int]] | None = None, store: StoreOptions = STORE) -> Folder:
    """Nineteen clips in three parts with latents, heatmaps and text. ``failed``: artifact -> clips it could not do."""
    artifacts = {
        name: Artifact(name, {"version": 1}, {}, {column.name: describe(column) for column in columns})
        for name, columns in COLUMNS.items()
    }
    artifacts["text"] = Artifact("text", {"version": 1}, {}, {"states": describe(STATES)})
    Catalog({"height": 64}, artifacts).write(dataset)
    for part, numbers in PARTS.items():
        for artifact in COLUMNS:
            write_artifact(dataset, artifact, part, (failed or {}).get(artifact, set()), store)
        captions = [str(clip(number)["caption"]) for number in numbers]
        keys = [pa.array([text_id(caption) for caption in captions]), pa.array(captions)]
        encoded = STATES.to_arrow(np.stack([states(caption) for caption in captions]))
        text = pa.table([*keys, encoded], schema=pa.schema([*TEXT_KEYS, STATES.field()]))
        write_part(dataset / "text", part, text, store, {"fingerprint": "f"})
        clips = pa.Table.from_pylist([clip(number) for number in numbers], schema=CLIPS)
        write_part(dataset / "clips", part, clips, store, {"fingerprint": "f"})
    return dataset
