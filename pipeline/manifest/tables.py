"""Manifests that are tables: CSV and TSV, JSON lines and JSON, Parquet; the text ones may be compressed."""

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from base.errors import InputError
from base.storage.errors import explained
from base.storage.uri import split
from pipeline.manifest.columns import RawColumns, RawRow
from pipeline.manifest.members import ParquetValue
from pipeline.manifest.quotes import CsvRecords, tsv_records

COMPRESSIONS = (".gz", ".bz2", ".zst")
_PEEK = 10_000
_SAMPLE = 100
_ROWS_AT_ONCE = 8192
Raw = RawRow | RawColumns


@dataclass(frozen=True)
class RawTable:
    """The rows of a table, one by one or many at once, its columns, and its first rows."""

    rows: Iterator[Raw]
    names: list[str]
    sample: list[RawRow]


def _table(rows: Iterator[Raw], names: list[str]) -> RawTable:
    head: list[Raw] = []
    sample: list[RawRow] = []
    while len(sample) < _SAMPLE and (raw := next(rows, None)) is not None:
        head.append(raw)
        sample += itertools.islice(raw.rows(), _SAMPLE) if isinstance(raw, RawColumns) else [raw]
    return RawTable(itertools.chain(head, rows), names, sample[:_SAMPLE])


def _check_names(names: list[str], source: str) -> None:
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise InputError(
            f"manifest '{source}': {names.count(twice)} columns are named '{twice}', but names must be unique. Rename "
            "or remove the others."
        )


def _open_text(source: str) -> io.TextIOWrapper:
    fs, path = split(source)
    with explained(source):
        stream = fs.open_input_stream(path)  # decompresses by file name
    return io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")


def csv_table(source: str) -> RawTable:
    """A CSV or TSV file with a line of column names."""
    csv.field_size_limit(1 << 24)  # a caption of 100 kB should only fail its row
    is_tsv = PurePosixPath(source).name.lower().removesuffix(".gz").endswith(".tsv") or ".tsv." in source.lower()
    lines = _open_text(source)
    records = CsvRecords(lines, source)
    ahead = tsv_records(lines, source) if is_tsv else iter(records)
    names = next(ahead, [])
    _check_names(names, source)
    if len(names) == 1 and ";" in names[0]:
        raise InputError(f"manifest '{source}': its columns are separated by ';'. Save it with commas, or as .tsv.")
    blocks = _in_blocks(ahead) if is_tsv else records.blocks(_ROWS_AT_ONCE)
    return _table(_csv_rows(blocks, names), names)


def _in_blocks(records: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    while block := list(itertools.islice(records, _ROWS_AT_ONCE)):
        yield block


def _csv_rows(blocks: Iterable[pa.Table | list[list[str]]], names: list[str]) -> Iterator[Raw]:
    """The rows of records; as columns where all records of a block are as long as the first line."""
    number = 2
    for block in blocks:
        if isinstance(block, pa.Table):
            yield RawColumns(dict(zip(names, block.combine_chunks().columns, strict=True)), block.num_rows)
        elif all(len(row) == len(names) for row in block):
            columns = (pa.array(column, pa.string()) for column in zip(*block, strict=True))
            yield RawColumns(dict(zip(names, columns, strict=True)), len(block))
        else:
            for at, row in enumerate(block, start=number):
                if row:
                    fault = None if len(row) == len(names) else f"BadRow: {len(row)} fields but {len(names)} columns"
                    yield RawRow(dict(zip(names, row, strict=False)), fault, str(at) if fault else "")
        number += len(block)


def json_lines_table(source: str) -> RawTable:
    """A file with one JSON object per line; its columns are the union over its first rows."""
    lines = enumerate(_open_text(source), start=1)

    def rows() -> Iterator[RawRow]:
        for number, line in lines:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield RawRow({}, f"BadRow: not JSON ({getattr(error, 'msg', error)})", str(number))
                continue
            yield RawRow(row) if isinstance(row, dict) else RawRow({}, "BadRow: not a JSON object", str(number))

    return _peeked(rows(), source)


def json_table(source: str) -> RawTable:
    """A JSON file: a list of objects, an object with one such list in it, or JSON lines despite its name."""
    with _open_text(source) as stream:
        text = stream.read()
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return json_lines_table(source)
        raise InputError(f"manifest '{source}' is not readable JSON: {error}.") from error
    except (ValueError, RecursionError) as error:  # a huge number, or too deep nesting
        why = (
            "it is nested too deeply" if isinstance(error, RecursionError) else "a number in it has thousands of digits"
        )
        raise InputError(
            f"manifest '{source}' is not readable JSON: {why}. Remove that, or write JSON lines."
        ) from error
    lists = [value for value in data.values() if _is_rows(value)] if isinstance(data, dict) else [data]
    if len(lists) != 1 or not _is_rows(lists[0]):
        shape = f"an object with the fields {', '.join(list(data)[:8])}" if isinstance(data, dict) else "no such list"
        raise InputError(
            f"manifest '{source}': it must be a list of objects, one per video, but has {shape}. Write "
            "it as JSON lines, one object with the fields video and caption per line."
        )
    return _peeked(iter([RawRow(row) for row in lists[0]]), source)


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _peeked(rows: Iterator[RawRow], source: str) -> RawTable:
    """Rows without a schema: the columns are the union over the first rows; later rows must not add new ones."""
    sample = list(itertools.islice(rows, _PEEK))
    names = list(dict.fromkeys(name for row in sample for name in row.values))
    known = set(names)

    def checked() -> Iterator[RawRow]:
        for number, row in enumerate(rows, start=_PEEK + 1):
            if not known.issuperset(row.values):
                new = next(name for name in row.values if name not in known)
                raise InputError(
                    f"manifest '{source}': row {number} has the field '{new}', which none of the first {_PEEK:,} rows "
                    f"has. Put a row with it (null is enough) first, so that it is read in all rows."
                )
            yield row

    return RawTable(itertools.chain(sample, checked()), names, sample)


def parquet_table(sources: list[str]) -> RawTable:
    """One or several Parquet files; columns of bytes, or of {bytes, path}, are videos that are read in place."""
    files = [_ParquetTable(source) for source in sources]
    names = list(dict.fromkeys(name for file in files for name in file.names))
    return _table(itertools.chain.from_iterable(file.rows() for file in files), names)


class _ParquetTable:
    """The rows of a Parquet file; values of binary columns are replaced by their URIs."""

    def __init__(self, source: str) -> None:
        self.source = source
        fs, path = split(source)
        with explained(source):
            try:
                file = pq.ParquetFile(fs.open_input_file(path))
            except pa.ArrowInvalid as error:
                raise InputError(f"manifest '{source}' is not a Parquet file: {error}") from error
        self.names = list(file.schema_arrow.names)
        _check_names(self.names, source)
        self.values = {field.name: leaf for field in file.schema_arrow if (leaf := _bytes_leaf(field)) is not None}
        self.others = [name for name in self.names if name not in self.values]
        self.paths = {field.name for field in file.schema_arrow if field.name in self.values and _has_path(field.type)}

    def rows(self) -> Iterator[Raw]:
        fs, path = split(self.source)
        with explained(self.source):
            file = pq.ParquetFile(fs.open_input_file(path))
        columns = self.others + [f"{name}.path" for name in sorted(self.paths)]
        for group in range(file.num_row_groups):
            there = {name: _present(file, group, leaf) for name, leaf in self.values.items()}
            count = file.metadata.row_group(group).num_rows
            numbers = iter(range(count))
            if not self.values:
                batches = file.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=columns)
                for batch in batches:
                    yield RawColumns(dict(zip(batch.schema.names, batch.columns, strict=True)), batch.num_rows)
                continue
            # Without other columns only the number of rows is needed.
            batches = file.iter_batches(8192, row_groups=[group], columns=columns) if columns else ()
            read = (row for batch in batches for row in batch.to_pylist())
            for row in read if columns else ({} for _ in range(count)):
                yield RawRow(row | self._uris(row, group, next(numbers), there))

    def _uris(
        self, row: dict[str, Any], group: int, number: int, there: dict[str, list[bool] | bool]
    ) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for name, leaf in self.values.items():
            present = there[name]
            if present if isinstance(present, bool) else present[number]:
                found[name] = ParquetValue(self.source, group, number, leaf).uri
            else:
                found[name] = (row.get(name) or {}).get("path") if name in self.paths else None
        return found


def _bytes_leaf(field: pa.Field) -> str | None:
    if _is_binary(field.type):
        return str(field.name)
    if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
        return f"{field.name}.bytes" if _is_binary(field.type.field("bytes").type) else None
    return None


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _has_path(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind) and kind.get_field_index("path") >= 0)


def _present(file: pq.ParquetFile, group: int, leaf: str) -> list[bool] | bool:
    """Which values of a binary column are not null; from statistics if possible, to avoid reading videos."""
    facts = file.metadata.row_group(group)
    at = next(i for i in range(facts.num_columns) if facts.column(i).path_in_schema == leaf)
    statistics = facts.column(at).statistics
    if statistics is not None and statistics.has_null_count and statistics.null_count in (0, facts.num_rows):
        return bool(statistics.null_count == 0)
    present: list[bool] = []
    for batch in file.iter_batches(16, row_groups=[group], columns=[leaf], use_threads=False):
        column = batch.column(0)
        whole = column.is_valid()
        if pa.types.is_struct(column.type):
            whole = pa.compute.and_(whole, column.field(0).is_valid())
        present += whole.to_pylist()
    return present
