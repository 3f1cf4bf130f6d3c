"""Clips as plain files for other tools: one mp4 per clip and metadata.jsonl, the Hugging Face videofolder layout."""

import io
import json
import os
import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from base.errors import InputError
from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.parts.part_file import read_part
from dataset.parts.schema import Column
from dataset.parts.tables import CLIPS
from dataset.view import PART, View, scalar_titles
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

    Existing videos are kept, so an interrupted export resumes. InputError if an artifact is missing, or stored by
    caption.
    """
    dataset = Folder(view.dataset)
    catalog = Catalog.require(dataset)
    folders = [catalog.pick(name, name) for name in arrays]
    for name in folders:
        if not catalog.artifacts[name].per_clip:
            raise InputError(f"--arrays {name}: it is stored by caption, not by clip. Choose another artifact.")
    titles = scalar_titles(dataset, view.artifacts)
    clips = view.clips({*titles, PART}).to_pylist()
    result = Exported()
    lines: list[str] = []
    parts: dict[str, set[str]] = {}
    there = {entry.name for entry in (out / "videos").files(".mp4")}
    scores = [name for name in titles if name not in CLIPS.names]
    for clip, failure in zip(clips, _write_videos(clips, catalog, out / "videos", there), strict=True):
        name = f"{clip['clip_id']}.mp4"
        if failure is not None:
            report(failure)
            result.failed += 1
            continue
        result.kept += name in there
        result.written += name not in there
        facts = {key: clip[key] for key in (*_FACTS, *scores)}
        lines.append(json.dumps({"file_name": f"videos/{name}", "text": clip["caption"], **facts}) + "\n")
        parts.setdefault(clip[PART], set()).add(clip["clip_id"])
    if folders:
        _write_arrays(dataset, catalog, folders, parts, out / "arrays")
    out.write("metadata.jsonl", "".join(lines).encode())
    return result


def _write_videos(
    clips: Sequence[Mapping[str, Any]], catalog: Catalog, folder: Folder, there: set[str]
) -> Iterator[str | None]:
    """Write the videos that are not there, on all cores; yields for each clip why it failed, or None."""
    with ExitStack() as stack, ThreadPoolExecutor(_workers()) as pool:
        free: queue.SimpleQueue[ClipDecoder] = queue.SimpleQueue()
        for _ in range(_workers()):
            free.put(stack.enter_context(ClipDecoder(catalog)))

        def write(clip: Mapping[str, Any]) -> str | None:
            name = f"{clip['clip_id']}.mp4"
            if name in there:
                return None
            decoder = free.get()
            try:
                folder.write(name, encode_video(decoder.frames(clip), clip["fps"]))
            except VideoError as error:
                return f"{clip['uri']}: {error.kind}: {error.message}"
            finally:
                free.put(decoder)
            return None

        yield from pool.map(write, clips)


def _write_arrays(
    dataset: Folder, catalog: Catalog, folders: Sequence[str], parts: Mapping[str, set[str]], out: Folder
) -> None:
    """``artifact.column`` of the clips of each part, with the column's scale applied."""
    columns = {folder: list(catalog.artifacts[folder].columns) for folder in folders}

    def write(part: str) -> None:
        values: dict[str, dict[str, np.ndarray]] = {}
        for folder, names in columns.items():
            table = read_part(dataset / folder, part, ["clip_id", *names])
            arrays = {name: _scaled(Column.of(table.schema.field(name)), table) for name in names}
            for row, clip in enumerate(table.column("clip_id").to_pylist()):
                if clip in parts[part]:
                    found = {f"{folder}.{name}": array[row] for name, array in arrays.items()}
                    values.setdefault(clip, {}).update(found)
        for clip, found in values.items():
            sink = io.BytesIO()
            np.savez_compressed(sink, **found)  # type: ignore[arg-type]
            out.write(f"{clip}.npz", sink.getvalue())

    with ThreadPoolExecutor(_workers()) as pool:
        for _ in pool.map(write, sorted(parts)):
            pass


def _scaled(column: Column, table: pa.Table) -> np.ndarray:
    stored = column.to_numpy(table.column(column.name))
    return stored if column.scale == 1 else (stored * np.float32(column.scale)).astype(np.float32)


def _workers() -> int:
    return len(os.sched_getaffinity(0))
