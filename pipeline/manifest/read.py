"""Reads a manifest in batches of rows; picks the reader by path."""

import csv
import fnmatch
import itertools
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.fs as pafs

from base.errors import InputError
from base.storage.errors import explained
from base.storage.uri import is_remote, split
from pipeline.manifest.columns import ROWS, ColumnMapping, ManifestColumns, RawColumns, Row, storable
from pipeline.manifest.folders import FolderFiles, folder_rows
from pipeline.manifest.layouts import describe_file
from pipeline.manifest.shards import shard_batches
from pipeline.manifest.tables import (
    COMPRESSIONS,
    Raw,
    RawTable,
    csv_table,
    json_lines_table,
    json_table,
    parquet_table,
)

BATCH = 65536
_READERS = {
    ".csv": csv_table,
    ".tsv": csv_table,
    ".jsonl": json_lines_table,
    ".ndjson": json_lines_table,
    ".json": json_table,
}
_UNPACKING = re.compile(r"inflate|decompress|[Tt]runcated compressed")
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


def read_manifest(source: str, columns: ManifestColumns) -> Iterator[pa.RecordBatch]:
    """Batches of :data:`ROWS` in the manifest's order; ``fault`` says why a row cannot be used.

    ``source`` is a file, a folder, or several shards: ``shards/*.tar`` or ``shards/{00000..00099}.tar``.

    InputError if the manifest itself is missing, of unknown format, or lacks columns.
    """
    files = _expanded(source)
    if files is not None:
        return _shards_or_parquet(files, source, columns)
    if _is_folder(source):
        return _folder(source, columns)
    return _file(source, columns)


def _file(source: str, columns: ManifestColumns) -> Iterator[pa.RecordBatch]:
    name = source.rstrip("/").lower()
    packed = next((suffix for suffix in COMPRESSIONS if name.endswith(suffix)), "")
    suffix = PurePosixPath(name.removesuffix(packed)).suffix
    if suffix in (".parquet", ".tar") and not packed:
        return _shards_or_parquet([source], source, columns)
    if suffix not in _READERS:
        raise InputError(f"manifest '{source}': {describe_file(source)}")
    with _readable(source):
        return _mapped(_READERS[suffix](source), source, columns)


def _folder(source: str, columns: ManifestColumns) -> Iterator[pa.RecordBatch]:
    folder = FolderFiles(source)
    match folder.kind():
        case "metadata":
            assert folder.metadata is not None
            return _file(folder.metadata, columns)
        case "videos":
            return _batches(folder_rows(folder, columns), source)
        case "shards":
            return shard_batches(folder.shards, columns)
        case _:
            return _mapped(parquet_table(folder.parquet), f"{source.rstrip('/')}/*.parquet", columns)


def _shards_or_parquet(files: list[str], source: str, columns: ManifestColumns) -> Iterator[pa.RecordBatch]:
    kinds = {PurePosixPath(file).suffix.lower() for file in files}
    if kinds == {".tar"}:
        return shard_batches(files, columns)
    if kinds == {".parquet"}:
        return _mapped(parquet_table(files), source, columns)
    raise InputError(f"manifest '{source}': several files must be all .tar or all .parquet.")


def _expanded(source: str) -> list[str] | None:
    """The files of a pattern; None if the source is not a pattern."""
    if (braces := _BRACES.search(source)) is not None:
        low, high = braces[1], braces[2]
        numbers = (str(number).zfill(len(low)) for number in range(int(low), int(high) + 1))
        files = [source[: braces.start()] + number + source[braces.end() :] for number in numbers]
        missing = next((file for file in files if _kind(file) != pafs.FileType.File), None)
        if missing is not None or not files:
            raise InputError(f"manifest '{source}': there is no file {missing or 'in this range'}.")
        return files
    if "*" not in source or _kind(source) != pafs.FileType.NotFound:
        return None
    folder, _, pattern = source.rpartition("/")
    if "*" in folder:
        raise InputError(f"manifest '{source}': '*' is only allowed in the file name. Give the folder without it.")
    fs, path = split(folder or ".")
    scheme = source.split("://", 1)[0] + "://" if is_remote(source) else ""
    with explained(source):
        infos = fs.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    found = sorted(
        info.path for info in infos if info.type == pafs.FileType.File and fnmatch.fnmatchcase(info.base_name, pattern)
    )
    if not found:
        raise InputError(f"manifest '{source}': no file matches it.")
    return [scheme + path for path in found]


def _kind(source: str) -> pafs.FileType:
    fs, path = split(source)
    with explained(source):
        return fs.get_file_info(path).type


def _is_folder(source: str) -> bool:
    kind = _kind(source)
    if kind == pafs.FileType.NotFound:
        try:
            with explained(source):  # a store gives no more detail even for a missing bucket
                raise FileNotFoundError(source)
        except FileNotFoundError as error:
            raise InputError(f"manifest '{source}': there is no such file or folder.") from error
    return bool(kind == pafs.FileType.Directory)


def _mapped(table: RawTable, source: str, columns: ManifestColumns) -> Iterator[pa.RecordBatch]:
    return _map(table, ColumnMapping(columns, table.names, source, table.sample), source)


def _map(table: RawTable, mapping: ColumnMapping, source: str) -> Iterator[pa.RecordBatch]:
    """Rows read one by one are gathered into batches; rows read many at once are a batch."""
    for many, group in itertools.groupby(_guarded(table.rows, source), lambda raw: isinstance(raw, RawColumns)):
        if not many:
            yield from _batches(_one_by_one(group, mapping), source)
            continue
        for raw in group:
            batch = mapping.columns(raw) if isinstance(raw, RawColumns) else None
            if batch is None:
                yield from _batches(_one_by_one([raw], mapping), source)
            else:
                yield batch


def _one_by_one(raws: Iterable[Raw], mapping: ColumnMapping) -> Iterator[Row]:
    for raw in raws:
        for one in raw.rows() if isinstance(raw, RawColumns) else (raw,):
            yield from mapping.rows(one)


def _guarded(rows: Iterator[Raw], source: str) -> Iterator[Raw]:
    with _readable(source):
        yield from rows


def _batches(rows: Iterator[Row], source: str) -> Iterator[pa.RecordBatch]:
    while chunk := _take(rows, source):
        arrays = [pa.array(column, field.type) for column, field in zip(zip(*chunk, strict=True), ROWS, strict=True)]
        yield pa.record_batch(arrays, schema=ROWS)


def _take(rows: Iterator[Row], source: str) -> list[Row]:
    with _readable(source):
        return [storable(row) for row in itertools.islice(rows, BATCH)]


@contextmanager
def _readable(source: str) -> Iterator[None]:
    try:
        with explained(source):
            yield
    except OSError as error:
        if _UNPACKING.search(str(error)):
            raise InputError(f"manifest '{source}' is damaged, or not packed as its name says: {error}.") from error
        raise
    except UnicodeDecodeError as error:
        raise InputError(f"manifest '{source}' is not UTF-8 (byte {error.start}): save it as UTF-8.") from error
    except csv.Error as error:
        raise InputError(f"manifest '{source}' is not readable as CSV: {error}.") from error
