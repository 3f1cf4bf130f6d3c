"""The work of a run as an Arrow file in its dataset: one record batch per part, read by the graph's tasks.

An Arrow file's footer has 24 bytes per part, so writing and opening it takes no more memory for a million clips than
for a thousand, and any part is read by its number. (Parquet's footer describes each column of each row group.)
"""

import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType

import pyarrow as pa
import pyarrow.compute as pc

from base.storage.errors import explained
from base.storage.folder import Folder
from base.storage.uri import split
from dataset.identity import digest, text_id
from dataset.parts.tables import FACTS, TEXT_KEYS, part_names, read_each_part, read_parts, write_part
from pipeline.stages.columns import WORK

_SUFFIX = ".work.arrow"
_OLD_SUFFIX = ".work.parquet"
_READ_AT_ONCE = 64
CLIPS_WORK = "clips"
"""The name of the work file of new clips."""


class WorkFile:
    """Rows written part by part: ``rows`` of them, ``clips`` without the blank ones.

    With ``part_rows`` every part except the last is padded with blank rows to this size, and :func:`read_rows` finds
    rows by their number. The file name has a unique token, since processes cache open work files by name.
    """

    def __init__(self, folder: Folder, name: str, schema: pa.Schema, part_rows: int | None = None) -> None:
        self.folder = folder.absolute()
        self.name = f"{name}.{uuid.uuid4().hex}{_SUFFIX}"
        self.schema = schema
        self.part_rows = part_rows
        self.rows = 0
        self.clips = 0
        self.parts = 0
        self._writer: pa.ipc.RecordBatchFileWriter | None = None
        self._last: pa.Table | None = None
        """The part added last: whether it is padded depends on whether another one follows."""

    @property
    def uri(self) -> str:
        """The file's URI."""
        return self.folder.file(self.name)

    def __enter__(self) -> "WorkFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._last is not None and kind is None:
            self._write(self._last)
        if self._writer is not None:
            with explained(self.folder.uri):
                self._writer.close()
                self._stream.close()

    def add(self, table: pa.Table) -> None:
        """Append one part of at least one row."""
        assert 0 < table.num_rows <= (self.part_rows or table.num_rows), (table.num_rows, self.part_rows)
        if self._last is not None:
            blanks = (self.part_rows or self._last.num_rows) - self._last.num_rows
            self._write(pa.concat_tables([self._last, self._blanks(blanks)]))
            self.rows += blanks
        self._last = table.cast(self.schema)
        self.rows += table.num_rows
        self.clips += table.num_rows
        self.parts += 1

    def _blanks(self, count: int) -> pa.Table:
        return pa.table([pa.nulls(count, field.type) for field in self.schema], schema=self.schema)

    def _write(self, part: pa.Table) -> None:
        with explained(self.folder.uri):
            if self._writer is None:
                if not self.folder.remote:
                    self.folder.path.mkdir(parents=True, exist_ok=True)
                fs, path = split(self.uri)
                self._stream = fs.open_output_stream(path)
                options = pa.ipc.IpcWriteOptions(compression="zstd")
                self._writer = pa.ipc.new_file(self._stream, self.schema, options=options)
            (batch,) = part.combine_chunks().to_batches()
            self._writer.write_batch(batch)

    def delete(self) -> None:
        """Remove the file."""
        self.folder.delete(self.name)


def delete_leftovers(folder: Folder) -> None:
    """Remove the work files of killed runs, also of earlier versions; requires the dataset's lock."""
    for suffix in (_SUFFIX, _OLD_SUFFIX):
        for entry in folder.files(suffix):
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
        with explained(folder.uri), fs.open_input_file(path) as file:
            work = file.read_buffer()  # as a whole: an object store would be asked once for each part
        wanted = [pa.ipc.open_file(work).schema.get_field_index("part")]
        options = pa.ipc.IpcReadOptions(included_fields=wanted)
        parts = pa.ipc.open_file(work, options=options).read_all().column("part").value_counts()
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
    for captions in _captions(dataset):
        new = {key: caption for key, caption in captions.items() if key not in done}
        done.update(new)  # `|=` with the keys of a dict copies the whole set
        if new:
            yield pa.table([list(new), list(new.values())], schema=TEXT_KEYS)


def _captions(dataset: Folder) -> Iterator[dict[str, str]]:
    """The captions of each part of clips by their ids, after the empty one; some parts are read at once."""
    yield {text_id(""): ""}
    folder = dataset / "clips"
    names = part_names(folder)
    for first in range(0, len(names), _READ_AT_ONCE):
        for table in read_each_part(folder, TEXT_KEYS.names, names[first : first + _READ_AT_ONCE]):
            yield dict(zip(*(table.column(name).to_pylist() for name in TEXT_KEYS.names), strict=True))


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
def _open(uri: str) -> pa.ipc.RecordBatchFileReader:
    """A work file, cached by its unique name (see :class:`WorkFile`)."""
    fs, path = split(uri)
    return pa.ipc.open_file(fs.open_input_file(path))


@lru_cache(maxsize=4)
def _rows_a_part(uri: str) -> int:
    """The rows of each part but the last of a padded work file."""
    return int(_open(uri).get_batch(0).num_rows)


def read_work(uri: str, parts: Iterable[int]) -> pa.Table:
    """The parts of a work file with these numbers (at least one)."""
    return pa.Table.from_batches([_open(uri).get_batch(part) for part in parts])


def read_rows(batch: pa.Table, uri: str) -> pa.Table:
    """The rows of a padded work file with these numbers (consecutive ones)."""
    numbers = batch.column("id")
    first, count = int(numbers[0].as_py()), len(numbers)
    size = _rows_a_part(uri)
    part, end = first // size, -(-(first + count) // size)
    return read_work(uri, range(part, end)).slice(first - part * size, count)


def find_slots(uri: str, slots: Collection[str]) -> pa.Table:
    """The rows of a work file with these slots."""
    wanted = pa.array(sorted(slots), pa.string())
    parts = (read_work(uri, [part]) for part in range(_open(uri).num_record_batches))
    return pa.concat_tables(table.filter(pc.is_in(table.column("slot"), wanted)) for table in parts)
