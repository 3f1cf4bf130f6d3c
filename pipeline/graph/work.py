"""The work of a run as a Parquet file in its dataset: one row group per part, read by the graph's tasks."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from base.storage.errors import explained
from base.storage.folder import Folder
from base.storage.uri import split
from dataset.identity import digest, text_id
from dataset.parts.part_file import read_part
from dataset.parts.tables import FACTS, TEXT_KEYS, part_names, read_parts, write_part
from pipeline.stages.columns import WORK

_SUFFIX = ".work.parquet"
CLIPS_WORK = "clips"
"""The name of the work file of new clips."""


class WorkFile:
    """Rows written part by part: ``rows`` of them, ``clips`` without the blank ones.

    With ``part_rows`` every part except the last is padded with blank rows. The file name has a unique token, since
    processes cache open work files by name.
    """

    def __init__(self, folder: Folder, name: str, schema: pa.Schema, part_rows: int | None = None) -> None:
        self.folder = folder.absolute()
        self.name = f"{name}.{uuid.uuid4().hex}{_SUFFIX}"
        self.schema = schema
        self.part_rows = part_rows
        self.rows = 0
        self.clips = 0
        self.parts = 0
        self._writer: pq.ParquetWriter | None = None
        self._short = 0

    @property
    def uri(self) -> str:
        """The file's URI."""
        return self.folder.file(self.name)

    def __enter__(self) -> "WorkFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            with explained(self.folder.uri):
                self._writer.close()
                self._stream.close()

    def add(self, table: pa.Table) -> None:
        """Append one part."""
        with explained(self.folder.uri):
            if self._writer is None:
                if not self.folder.remote:
                    self.folder.path.mkdir(parents=True, exist_ok=True)
                fs, path = split(self.uri)
                self._stream = fs.open_output_stream(path)
                self._writer = pq.ParquetWriter(self._stream, self.schema, compression="zstd")
            if self._short:
                self._writer.write_table(self._blanks(self._short))
                self.rows += self._short
            self._writer.write_table(table.cast(self.schema))
        self.rows += table.num_rows
        self.clips += table.num_rows
        self.parts += 1
        self._short = (self.part_rows or table.num_rows) - table.num_rows

    def _blanks(self, count: int) -> pa.Table:
        return pa.table([pa.nulls(count, field.type) for field in self.schema], schema=self.schema)

    def delete(self) -> None:
        """Remove the file."""
        self.folder.delete(self.name)


def delete_leftovers(folder: Folder) -> None:
    """Remove the work files of killed runs; requires the dataset's lock."""
    for entry in folder.files(_SUFFIX):
        folder.delete(entry.name)


@dataclass(frozen=True)
class PlannedParts:
    """The new clips that a run computes, by part. ``run`` is empty if there is no plan."""

    run: str = ""
    clips: Mapping[str, int] = field(default_factory=dict)


def planned_parts(folder: Folder) -> PlannedParts:
    """The plan of the run in progress, or of a killed one; none while it is still being written."""
    names = [entry.name for entry in folder.files(_SUFFIX) if f".{CLIPS_WORK}." in entry.name]
    if not names:
        return PlannedParts()
    fs, path = split(folder.file(names[-1]))
    try:
        with explained(folder.uri):
            parts = pq.read_table(path, filesystem=fs, columns=["part"]).column("part").value_counts()
    except (pa.ArrowInvalid, FileNotFoundError):
        return PlannedParts()
    counts = dict(zip(*(parts.field(name).to_pylist() for name in ("values", "counts")), strict=True))
    counts.pop(None, None)  # blank rows
    return PlannedParts(names[-1].partition(f".{CLIPS_WORK}.")[0], counts)


def new_captions(dataset: Folder, folder: str) -> Iterator[pa.Table]:
    """Captions without states in a text artifact, grouped by the part of clips where they first occur.

    The empty caption is always included, for text dropout and guidance.
    """
    there = part_names(dataset / folder)
    known = read_parts(dataset / folder, ["text_id"], there) if there else None
    done = set(known.column("text_id").to_pylist()) if known is not None else set()
    for part in ("", *part_names(dataset / "clips")):
        captions = {text_id(""): ""}
        if part:
            columns = read_part(dataset / "clips", part, TEXT_KEYS.names)
            captions = dict(zip(*(columns.column(name).to_pylist() for name in TEXT_KEYS.names), strict=True))
        new = {key: caption for key, caption in captions.items() if key not in done}
        done |= new.keys()
        if new:
            yield pa.table([list(new), list(new.values())], schema=TEXT_KEYS)


class WorkSink:
    """A plan sink that writes clips to a work file and rejects to the dataset."""

    def __init__(self, work: WorkFile, dataset: Folder, run: str) -> None:
        self.work = work
        self.dataset = dataset
        self.run = run

    def clips(self, part: str, rows: pa.Table) -> None:
        """A part of clips to compute."""
        self.work.add(decode_order(part, rows))

    def rejects(self, rows: pa.Table) -> None:
        """Slots that the plan rejects, without a part of clips."""
        rows = rows.set_column(rows.column_names.index("run"), "run", pa.array([self.run] * rows.num_rows))
        name = f"part-{digest('rejects', *rows.column('slot').to_pylist())[:16]}.parquet"
        write_part(self.dataset / "rejects", name, rows, FACTS, {"kind": "rejects", "clips_part": ""})

    def recaption(self, slot: str, caption: str) -> None:
        """Ignored: a run does not change written captions."""


def decode_order(part: str, rows: pa.Table) -> pa.Table:
    """The clips of a part as rows of :data:`WORK`, ordered by video and position.

    A decode process keeps the last downloaded video, so each video is downloaded once.
    """
    count = rows.num_rows
    rows = rows.append_column("part", pa.array([part] * count)).append_column("row", pa.array(range(count), pa.int32()))
    return rows.select(WORK.names).sort_by([("uri", "ascending"), ("first", "ascending"), ("row", "ascending")])


@lru_cache(maxsize=4)
def open_work(uri: str) -> pq.ParquetFile:
    """A work file, cached by its unique name (see :class:`WorkFile`)."""
    fs, path = split(uri)
    return pq.ParquetFile(fs.open_input_file(path))


def read_rows(batch: pa.Table, uri: str) -> pa.Table:
    """The rows of the work file with these numbers (consecutive ones)."""
    numbers = batch.column("id")
    first, count = int(numbers[0].as_py()), len(numbers)
    file = open_work(uri)
    starts = [0]
    for group in range(file.num_row_groups):
        starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
    groups = [g for g in range(file.num_row_groups) if starts[g] < first + count and starts[g + 1] > first]
    return file.read_row_groups(groups).slice(first - starts[groups[0]], count)
