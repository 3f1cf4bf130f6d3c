"""Manifests: which videos there are and what is said of them, streamed in batches from any common format.

CSV, TSV, JSON lines, Parquet, or a folder of videos with ``name.txt`` beside ``name.mp4``; local or ``s3://``. Column
names are found by themselves or mapped; a WebVid CSV (videoid, page_dir, name) maps to ``page_dir/videoid.mp4``.
"""

import csv
import io
import itertools
import json
import string
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from diffusion.errors import InputError
from diffusion.storage import Folder
from diffusion.store_errors import explained
from diffusion.uri import is_remote, local_path, split

VIDEO_NAMES = ("video", "uri", "url", "path", "file", "file_name", "filename", "video_path")
CAPTION_NAMES = ("caption", "text", "prompt", "description", "name", "title")
VIDEO_SUFFIXES = (
    ".mp4",
    ".mkv",
    ".webm",
    ".mov",
    ".avi",
    ".m4v",
    ".mpg",
    ".mpeg",
    ".ts",
    ".wmv",
    ".flv",
    ".3gp",
)
BATCH = 65536
ROWS = pa.schema(
    [
        ("uri", pa.string()),
        ("caption", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("fault", pa.string()),
    ]
)


@dataclass(frozen=True)
class ManifestColumns:
    """Which columns mean what; None finds them by their usual names.

    ``video`` may be a template over columns, such as ``{page_dir}/{videoid}.mp4``. ``start`` and ``end`` bound the
    part of the video to use, in seconds. Relative paths are taken from ``root``, by default the manifest's folder.
    """

    video: str | None = None
    caption: str | None = None
    start: str | None = None
    end: str | None = None
    root: str | None = None


def read_manifest(source: str, columns: ManifestColumns) -> Iterator[pa.RecordBatch]:
    """Batches of :data:`ROWS` in the manifest's order; ``fault`` says why a row cannot be used.

    InputError where the manifest itself is missing, of an unknown format, or lacks the columns.
    """
    suffix = PurePosixPath(source.rstrip("/")).suffix.lower()
    if _is_folder(source):
        return _batches(_folder_rows(source), source)
    readers = {".csv": _csv_rows, ".tsv": _csv_rows, ".jsonl": _json_rows, ".ndjson": _json_rows}
    if suffix == ".parquet":
        raw, names = _parquet_rows(source)
    elif suffix in readers:
        with _readable(source):
            raw, names = readers[suffix](source)
    else:
        raise InputError(f"manifest '{source}': a folder of videos, .csv, .tsv, .jsonl or .parquet is expected.")
    mapping = _Mapping(columns, names, source)
    return _batches((mapping.row(row, fault) for row, fault in raw), source)


Row = tuple[str | None, str | None, float | None, float | None, str | None]
RawRows = tuple[Iterator[tuple[dict[str, Any], str | None]], list[str]]


def _batches(rows: Iterator[Row], source: str) -> Iterator[pa.RecordBatch]:
    while chunk := _take(rows, source):
        arrays = [pa.array(column, field.type) for column, field in zip(zip(*chunk, strict=True), ROWS, strict=True)]
        yield pa.record_batch(arrays, schema=ROWS)


def _take(rows: Iterator[Row], source: str) -> list[Row]:
    with _readable(source):
        return list(itertools.islice(rows, BATCH))


@contextmanager
def _readable(source: str) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise InputError(f"manifest '{source}' is not UTF-8 (byte {error.start}): save it as UTF-8.") from error
    except csv.Error as error:
        raise InputError(f"manifest '{source}' is not readable as CSV: {error}.") from error


def _is_folder(source: str) -> bool:
    fs, path = split(source)
    try:
        with explained(source):
            kind = fs.get_file_info(path).type
            if kind == pafs.FileType.NotFound:
                raise FileNotFoundError(source)
    except FileNotFoundError as error:
        raise InputError(f"manifest '{source}': there is no such file or folder.") from error
    return bool(kind == pafs.FileType.Directory)


def _folder_rows(source: str) -> Iterator[Row]:
    fs, path = split(source)
    with explained(source):
        infos = fs.get_file_info(pafs.FileSelector(path, recursive=True))
    files = {info.path for info in infos if info.type == pafs.FileType.File}
    videos = sorted(file for file in files if PurePosixPath(file).suffix.lower() in VIDEO_SUFFIXES)
    if not videos:
        raise InputError(f"manifest '{source}': the folder holds no videos ({', '.join(VIDEO_SUFFIXES)}).")
    scheme = source.split("://", 1)[0] + "://" if is_remote(source) else ""
    for video in videos:
        sidecar = str(PurePosixPath(video).with_suffix(".txt"))
        caption, fault = None, None
        if sidecar in files:
            with explained(source), fs.open_input_stream(sidecar) as stream:
                try:
                    caption = stream.read().decode().strip()
                except UnicodeDecodeError:
                    fault = "CaptionNotText: the .txt beside it is not UTF-8"
        yield scheme + video, caption, None, None, fault


def _open_text(source: str) -> io.TextIOWrapper:
    fs, path = split(source)
    with explained(source):
        stream = fs.open_input_file(path)
    return io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")


def _csv_rows(source: str) -> RawRows:
    csv.field_size_limit(1 << 24)  # a caption of 100 kB is a fault of its row, not of the manifest
    delimiter = "\t" if source.lower().endswith(".tsv") else ","
    reader = csv.reader(_open_text(source), delimiter=delimiter)
    names = next(reader, [])

    def rows() -> Iterator[tuple[dict[str, Any], str | None]]:
        for number, row in enumerate(reader, start=2):
            if not row:
                continue
            fault = None if len(row) == len(names) else f"BadRow: {len(row)} fields where {len(names)} are named"
            yield dict(zip(names, row, strict=False)) | ({"#": number} if fault else {}), fault

    return rows(), names


def _json_rows(source: str) -> RawRows:
    lines = enumerate(_open_text(source), start=1)

    def rows() -> Iterator[tuple[dict[str, Any], str | None]]:
        for number, line in lines:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                yield {"#": number}, f"BadRow: not JSON ({error.msg})"
                continue
            yield (row, None) if isinstance(row, dict) else ({"#": number}, "BadRow: not a JSON object")

    all_rows = rows()
    first = next(all_rows, None)
    names = [] if first is None else list(first[0])
    return itertools.chain([] if first is None else [first], all_rows), names


def _parquet_rows(source: str) -> RawRows:
    fs, path = split(source)
    with explained(source):
        try:
            file = pq.ParquetFile(fs.open_input_file(path))
        except pa.ArrowInvalid as error:
            raise InputError(f"manifest '{source}' is not a Parquet file: {error}") from error
    names = list(file.schema_arrow.names)

    def rows() -> Iterator[tuple[dict[str, Any], str | None]]:
        for batch in file.iter_batches(batch_size=8192):
            for row in batch.to_pylist():
                yield row, None

    return rows(), names


class _Mapping:
    """Turns a raw row into (uri, caption, start_s, end_s, fault)."""

    def __init__(self, columns: ManifestColumns, names: list[str], source: str) -> None:
        self.source = source
        self.names = names
        parent = source.rstrip("/").rsplit("/", 1)
        default_root = (parent[0] if len(parent) > 1 else ".") if is_remote(source) else str(local_path(source).parent)
        self.root = columns.root or default_root
        if not is_remote(self.root):
            self.root = str(local_path(self.root))
        if columns.video is None and {"page_dir", "videoid"} <= set(names):
            self.video = "{page_dir}/{videoid}.mp4"
        else:
            self.video = self._find("video", columns.video, VIDEO_NAMES)
        self.template = "{" in self.video
        self.caption = self._find("caption", columns.caption, CAPTION_NAMES, required=False)
        self.start = self._find("start", columns.start, ("start", "start_s", "start_time"), required=False)
        self.end = self._find("end", columns.end, ("end", "end_s", "end_time"), required=False)

    def _find(self, role: str, given: str | None, usual: tuple[str, ...], *, required: bool = True) -> str:
        if given is not None:
            fields = [name for _, name, _, _ in string.Formatter().parse(given) if name] if "{" in given else [given]
            unknown = [field for field in fields if field not in self.names]
            if unknown:
                raise InputError(
                    f"manifest '{self.source}': there is no column '{unknown[0]}' for --columns.{role}. "
                    f"Columns: {', '.join(self.names)}."
                )
            return given
        found = next((name for name in usual if name in self.names), None)
        if found is None and required:
            raise InputError(
                f"manifest '{self.source}': none of its columns ({', '.join(self.names)}) is known to hold the "
                f"{role}. Name it with --columns.{role}."
            )
        return found or ""

    def row(self, raw: dict[str, Any], fault: str | None) -> Row:
        if fault is not None:
            return f"{self.source}#{raw.get('#', '')}", None, None, None, fault
        try:
            name = self.video.format(**raw) if self.template else raw.get(self.video)
        except KeyError as error:
            return self.source, None, None, None, f"BadRow: no field {error}"
        if not name or not isinstance(name, str):
            return self.source, None, None, None, "VideoMissing: the row names no video"
        caption = raw.get(self.caption) if self.caption else None
        caption = caption.strip() if isinstance(caption, str) else None
        try:
            start, end = self._seconds(raw, self.start), self._seconds(raw, self.end)
        except ValueError as error:
            return self._uri(name), caption, None, None, f"BadRow: {error}"
        if start is not None and end is not None and end <= start:
            return (
                self._uri(name),
                caption,
                start,
                end,
                f"BadSpan: it ends at {end:g} s and starts at {start:g} s",
            )
        on_the_web = name.startswith(("http://", "https://"))
        fault = "NotFetched: videos are not fetched from the web, download it first" if on_the_web else None
        return self._uri(name), caption, start, end, fault

    def _uri(self, name: str) -> str:
        if is_remote(name) or name.startswith(("/", "~", "file://")):
            return name if is_remote(name) else str(local_path(name))
        return Folder(self.root).file(name)

    def _seconds(self, raw: dict[str, Any], column: str) -> float | None:
        value = raw.get(column) if column else None
        if value is None or value == "":
            return None
        seconds = float(value)
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"{column} {value}: seconds from 0 on")
        return seconds
