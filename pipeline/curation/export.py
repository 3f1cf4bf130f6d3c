"""Clips as plain files for other tools: one mp4 per clip and metadata.jsonl, the Hugging Face videofolder layout."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.parts.part_file import read_part
from dataset.parts.schema import Column
from dataset.parts.tables import CLIPS, part_names
from dataset.view import View
from media.video_file import encode_video
from pipeline.curation.clips import ClipDecoder
from pipeline.video.errors import VideoError

_FACTS = ("clip_id", "uri", "first", "stride", "fps", "source_fps", "source_height", "source_width")


@dataclass
class Exported:
    """Numbers of clips written, kept from an earlier export, and failed because their video is missing."""

    written: int = 0
    kept: int = 0
    failed: int = 0


def export(view: View, out: Folder, arrays: Sequence[str], report: Callable[[str], None]) -> Exported:
    """Write ``videos/ID.mp4``, with ``arrays`` the artifacts' values as ``arrays/ID.npz``, and metadata.jsonl last.

    Existing videos are kept, so an interrupted export resumes. InputError if an artifact is missing.
    """
    dataset = Folder(view.dataset)
    catalog = Catalog.require(dataset)
    folders = [catalog.pick(name, name) for name in arrays]
    clips = view.clips()
    scores = [name for name in clips.column_names if name not in CLIPS.names]
    result = Exported()
    written: list[dict[str, Any]] = []
    there = {entry.name for entry in (out / "videos").files(".mp4")}
    with ClipDecoder(catalog) as decoder:
        for clip in clips.to_pylist():
            name = f"{clip['clip_id']}.mp4"
            if name not in there and not _write_clip(clip, decoder, out / "videos", name, report):
                result.failed += 1
                continue
            result.kept += name in there
            result.written += name not in there
            facts = {key: clip[key] for key in (*_FACTS, *scores)}
            written.append({"file_name": f"videos/{name}", "text": clip["caption"], **facts})
    if folders:
        _write_arrays(dataset, catalog, folders, {row["clip_id"] for row in written}, out / "arrays")
    out.write("metadata.jsonl", "".join(f"{json.dumps(row)}\n" for row in written).encode())
    return result


def _write_clip(
    clip: dict[str, Any], decoder: ClipDecoder, folder: Folder, name: str, report: Callable[[str], None]
) -> bool:
    try:
        frames = decoder.frames(clip)
    except VideoError as error:
        report(f"{clip['uri']}: {error.kind}: {error.message}")
        return False
    folder.write(name, encode_video(frames, clip["fps"]))
    return True


def _write_arrays(dataset: Folder, catalog: Catalog, folders: list[str], ids: set[str], out: Folder) -> None:
    """``artifact.column`` of each clip, with the column's scale applied."""
    for part in part_names(dataset / "clips"):
        values: dict[str, dict[str, np.ndarray]] = {}
        for folder in folders:
            table = read_part(dataset / folder, part)
            columns = [Column.of(table.schema.field(name)) for name in catalog.artifacts[folder].columns]
            arrays = {column.name: _scaled(column, table) for column in columns}
            for row, clip in enumerate(table.column("clip_id").to_pylist()):
                if clip in ids:
                    found = {f"{folder}.{name}": array[row] for name, array in arrays.items()}
                    values.setdefault(clip, {}).update(found)
        for clip, found in values.items():
            sink = io.BytesIO()
            np.savez_compressed(sink, **found)  # type: ignore[arg-type]
            out.write(f"{clip}.npz", sink.getvalue())


def _scaled(column: Column, table: pa.Table) -> np.ndarray:
    stored = column.to_numpy(table.column(column.name))
    return stored if column.scale == 1 else (stored * np.float32(column.scale)).astype(np.float32)
