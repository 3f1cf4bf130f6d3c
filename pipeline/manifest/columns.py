"""Assigns a manifest's columns: a raw row becomes rows with one uri, caption and span each. 1:N."""

import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from base.errors import InputError
from base.storage.uri import is_remote, local_path
from pipeline.manifest.segments import Segment, SegmentColumn, captions_of, read_segments, seconds
from pipeline.manifest.values import fault_of, faults_of, strings, text_of, texts_of, times_of, uri_of, uris_of

VIDEO_NAMES = ("video", "uri", "url", "path", "file", "file_name", "filename", "video_path", "mp4", "video_bytes")
CAPTION_NAMES = ("caption", "text", "prompt", "description", "name", "title", "cap")
START_NAMES = ("start", "start_s", "start_time")
END_NAMES = ("end", "end_s", "end_time")
ROWS = pa.schema(
    [
        ("uri", pa.string()),
        ("caption", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("fault", pa.string()),
    ]
)

# Errors of malformed, too deeply nested or too large values.
_UNREADABLE = (ValueError, TypeError, OverflowError, RecursionError)

Row = tuple[str | None, str | None, float | None, float | None, str | None]
"""A row of :data:`ROWS`."""


@dataclass(frozen=True)
class ManifestColumns:
    """Which columns to use; None finds them by their usual names.

    ``video`` may be a template over columns, such as ``{page_dir}/{videoid}.mp4``. ``start`` and ``end`` bound the
    part of the video to use, in seconds or as clock times (``0:00:17.683``). ``segments`` holds several such parts,
    ``[[start, end], ...]``, with one caption each if the caption is a list, too; ``""`` disables it. Relative paths
    are resolved against ``root``, by default the manifest's folder.
    """

    video: str | None = None
    caption: str | None = None
    start: str | None = None
    end: str | None = None
    segments: str | None = None
    root: str | None = None


class RawRow(NamedTuple):
    """A row as read; ``fault`` says why it cannot be used, ``place`` identifies it (a line number)."""

    values: Mapping[str, Any]
    fault: str | None = None
    place: str = ""


@dataclass(frozen=True)
class RawColumns:
    """Many rows as read, by column."""

    values: Mapping[str, pa.Array | pa.ChunkedArray]
    count: int

    def rows(self) -> Iterator[RawRow]:
        """The rows."""
        names, columns = list(self.values), [column.to_pylist() for column in self.values.values()]
        return (RawRow(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True))


def default_root(source: str) -> str:
    """The folder of a manifest file."""
    if not is_remote(source):
        return str(local_path(source).parent)
    parent, slash, _ = source.rstrip("/").rpartition("/")
    return parent if slash else "."


class ColumnMapping:
    """Turns raw rows into rows of :data:`ROWS`.

    Args:
        columns: the user's choice.
        names: the manifest's columns.
        source: the manifest, for messages and the default root.
        sample: its first rows, to recognise a column of segments.
    """

    def __init__(self, columns: ManifestColumns, names: list[str], source: str, sample: list[RawRow]) -> None:
        self.source = source
        self.names = names
        self._row = 0
        root = columns.root or default_root(source)
        self.root = root if is_remote(root) else str(local_path(root))
        if columns.segments:
            self._find("segments", columns.segments, ())
        self.segments = SegmentColumn(source, columns.segments, names, [row.values for row in sample])
        self.video = self._known_layout() if columns.video is None else ""
        self.video = self.video or self._find("video", columns.video, VIDEO_NAMES)
        self.template = "{" in self.video
        self.caption = self._find("caption", columns.caption, CAPTION_NAMES, required=False)
        if self.caption == self.video and columns.caption is None:
            self.caption = ""
        self.start = self._find("start", columns.start, START_NAMES, required=False)
        self.end = self._find("end", columns.end, END_NAMES, required=False)

    def _known_layout(self) -> str:
        """The video's template in layouts that name videos by id: WebVid, Panda-70M and Koala-36M."""
        if {"page_dir", "videoid"} <= set(self.names):
            return "{page_dir}/{videoid}.mp4"
        if self.segments.likely and "videoID" in self.names:
            return "{videoID}.mp4"
        return ""

    def _find(self, role: str, given: str | None, usual: tuple[str, ...], *, required: bool = True) -> str:
        if given is not None:
            unknown = [field for field in self._fields(role, given) if field not in self.names]
            if unknown:
                raise InputError(
                    f"manifest '{self.source}': no column '{unknown[0]}' for --columns.{role}. "
                    f"Columns: {', '.join(self.names)}."
                )
            return given
        found = next((name for name in usual if name in self.names), None)
        if found is None and required:
            hint = " Its first line looks like a row: put a line of column names, such as video,caption, above it."
            raise InputError(
                f"manifest '{self.source}': none of its columns ({', '.join(self.names)}) has a usual name for the "
                f"{role}. Give it with --columns.{role}." + (hint if self._lacks_header() else "")
            )
        return found or ""

    def _fields(self, role: str, given: str) -> list[str]:
        if "{" not in given:
            return [given]
        try:
            parsed = [
                (name, conversion) for _, name, _, conversion in string.Formatter().parse(given) if name is not None
            ]
        except ValueError as error:
            raise InputError(
                f"--columns.{role} '{given}' is not a template ({error}): write column names in braces, such as "
                "'{page_dir}/{videoid}.mp4'."
            ) from error
        fields = [name for name, _ in parsed]
        plain = all(field and field.replace("_", "a").replace("-", "a").isalnum() for field in fields)
        if not plain or any(conversion for _, conversion in parsed):
            raise InputError(f"--columns.{role} '{given}': each pair of braces must hold a column name.")
        return fields

    def _lacks_header(self) -> bool:
        return any("/" in name or name.lower().endswith((".mp4", ".webm", ".mkv", ".mov")) for name in self.names)

    def rows(self, raw: RawRow) -> Iterator[Row]:
        """The rows of a raw row: one, or one per segment."""
        fault, name = raw.fault, None
        self._row += 1
        try:
            name = self._name(raw) if fault is None else None
        except _UNREADABLE as error:
            fault = f"BadRow: {error}"
        if fault is None and (not name or not isinstance(name, str)):
            fault = "VideoMissing: the row names no video"
        if fault is not None or name is None:
            yield f"{self.source}#{raw.place}" if raw.place else self.source, None, None, None, fault
            return
        uri = uri_of(name, self.root)
        try:
            spans, captions = self._spans(raw.values)
        except _UNREADABLE as error:
            yield uri, text_of(raw.values.get(self.caption)), None, None, f"BadRow: {error}"
            return
        for (start, end), caption in zip(spans, captions, strict=True):
            yield uri, text_of(caption), start, end, fault_of(name, start, end)

    def columns(self, raw: RawColumns) -> pa.RecordBatch | None:
        """The rows of many raw rows, one of each; None if :meth:`rows` must look at each row."""
        if self.template or self.segments.name or self.segments.candidates:
            return None
        video, caption, *bounds = (
            raw.values.get(name) if name else None for name in (self.video, self.caption, self.start, self.end)
        )
        names = None if video is None else strings(video)
        if names is None or names.null_count or pc.any(pc.equal(names, "")).as_py():
            return None
        nothing = pa.nulls(raw.count)
        try:
            uris = uris_of(names, self.root)
            texts = texts_of(nothing if caption is None else caption)
            starts, ends = (times_of(nothing if bound is None else bound) for bound in bounds)
            faults = faults_of(names, starts, ends)
        except (*_UNREADABLE, pa.ArrowException):
            return None
        if pc.any(pc.match_substring(uris, "\0")).as_py():
            return None
        self._row += raw.count
        return pa.record_batch([uris, texts, starts, ends, faults], ROWS)

    def _name(self, raw: RawRow) -> Any:
        if not self.template:
            return raw.values.get(self.video)
        fields = self._fields("video", self.video)
        if any(raw.values.get(field) in (None, "") for field in fields):
            return None
        return self.video.format(**raw.values)

    def _spans(self, values: Mapping[str, Any]) -> tuple[list[Segment], list[Any]]:
        caption = values.get(self.caption) if self.caption else None
        segments = self.segments.value(values, self._row)
        if segments is not None:
            spans = read_segments(segments)
            if not spans:
                raise ValueError(f"{self.segments.name} names no segment")
            return spans, captions_of(caption, len(spans))
        start, end = (seconds(values.get(name)) if name else None for name in (self.start, self.end))
        return [(start, end)], [caption]


def storable(row: Row) -> Row:
    """A row that can be stored: one with invalid Unicode or an invalid path becomes a failed row.

    JSON can contain half of a surrogate pair (``\\ud800``), as can non-UTF-8 names in a tar file.
    """
    uri, caption, *_, fault = row
    try:
        (f"{uri}{fault}" if caption is None else f"{uri}{fault}{caption}").encode()
    except UnicodeEncodeError as error:
        half = f"U+{ord(error.object[error.start]):04X}"
        said = fault or f"BadRow: its path or caption has {half}, half of a surrogate pair. Write it as UTF-8."
        return _printable(uri), None, None, None, _printable(said)
    if uri is not None and "\0" in uri:
        return (
            uri.replace("\0", "\\0"),
            caption,
            None,
            None,
            fault or "BadRow: its path has a zero byte, which is not allowed",
        )
    return row


def _printable(text: str | None) -> str | None:
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()
