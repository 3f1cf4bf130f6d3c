"""One Parquet file of a dataset: sealed on write, checked on read.

Three kinds of checks are stored inside an ordinary Parquet file:

- page checksums (CRC-32, part of Parquet), checked by the first read of a process, and optionally by other readers;
- ``digests``: for each column and row group, a digest of its null rows, and of its values unless they are tensors.
  Parquet's page headers have no checksum, and a flipped bit there can move a null or change a number;
- ``seal``: digests of the footer, and of all bytes before it. The footer's is checked whenever a part is opened, the
  other by ``motif dataset verify``.

Parts of version 1 datasets have none of these and are read without checks.
"""

import contextlib
import errno
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import blake3
import pyarrow as pa
import pyarrow.parquet as pq

from base.errors import DamagedFile, MissingPart
from base.storage.errors import explained
from base.storage.folder import Folder
from base.storage.uri import split
from dataset.parts.digest import check_types, digest

SEAL, DIGESTS = b"seal", b"digests"
_SEAL = re.compile(rb"blake3-128 footer ([0-9a-f]{32}) body ([0-9a-f]{32})")
_BLANK = b"blake3-128 footer " + b"0" * 32 + b" body " + b"0" * 32
_MAGIC = b"PAR1"
_TAIL = len(_MAGIC) + 4  # the footer's length, and the magic
_FIRST_READ = 64 << 10  # one request reads most footers completely, and small files


def encode_part(table: pa.Table, rows_a_group: int, **options: Any) -> pa.Buffer:
    """Encode a table as a part, deterministically. ``options`` are for pyarrow's ParquetWriter.

    ValueError for a column type that cannot be checked on read.
    """
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, write_page_checksum=True, store_schema=True, **options) as writer:
        writer.write_table(table, row_group_size=rows_a_group)
        groups = [table.slice(first, rows_a_group) for first in range(0, max(table.num_rows, 1), rows_a_group)]
        digests = {name: [digest(group.column(name)) for group in groups] for name in table.column_names}
        writer.add_key_value_metadata({DIGESTS.decode(): json.dumps(digests, separators=(",", ":"))})
        writer.add_key_value_metadata({SEAL.decode(): _BLANK.decode()})
    data = sink.getvalue()
    check_types(table.schema, data)
    footer, start = _footer(data)
    at = start + footer.rindex(_BLANK)
    body = _hex(memoryview(data)[:start])
    sealed = bytearray(data)
    sealed[at : at + len(_BLANK)] = b"blake3-128 footer %b body %b" % (b"0" * 32, body)
    whole = b"blake3-128 footer %b body %b" % (_footer_digest(bytes(sealed[start:]), len(data)), body)
    sealed[at : at + len(_BLANK)] = whole
    return pa.py_buffer(bytes(sealed))


def _footer(data: pa.Buffer) -> tuple[bytes, int]:
    """The footer with its length and magic, and where it begins."""
    view = memoryview(data)
    start = len(view) - _TAIL - int.from_bytes(view[-_TAIL : -len(_MAGIC)], "little")
    return bytes(view[start:]), start


def _hex(data: "bytes | memoryview") -> bytes:
    return blake3.blake3(data).hexdigest(length=16).encode()


def _footer_digest(footer: bytes, size: int) -> bytes:
    """The digest of a footer (with its own digest blanked) and the file's size."""
    return _hex(_SEAL.sub(lambda found: found[0].replace(found[1], b"0" * 32, 1), footer) + size.to_bytes(8, "little"))


Proven = set[tuple[int, str]]
"""(row group, column) pairs whose checksums have been verified."""


@dataclass(frozen=True)
class Footer:
    """A part's footer, checked against its seal. ``sealed``: whether it has one (parts of version 1 have none)."""

    metadata: pq.FileMetaData
    size: int
    """Size of the file in bytes."""
    start: int
    """The offset of the footer; everything before it is the body."""
    sealed: bool
    body: bytes
    """The body's digest, as hex digits."""

    @property
    def facts(self) -> dict[str, str]:
        """The part's metadata, as given when it was written."""
        found: dict[bytes, bytes] = self.metadata.metadata or {}
        ours = (b"ARROW:schema", SEAL, DIGESTS)
        return {key.decode(): value.decode() for key, value in found.items() if key not in ours}

    @property
    def group_rows(self) -> list[int]:
        """The rows of each row group."""
        return [self.metadata.row_group(number).num_rows for number in range(self.metadata.num_row_groups)]

    @property
    def digests(self) -> dict[str, list[str]]:
        """By column, the digest of each row group; empty for parts of version 1."""
        found: dict[str, list[str]] = json.loads((self.metadata.metadata or {}).get(DIGESTS, b"{}"))
        return found


def damaged(folder: Folder, name: str, why: str) -> DamagedFile:
    """The error for a damaged part, with a remedy."""
    dataset = folder.uri.rstrip("/").rpartition("/")[0] or "."
    return DamagedFile(
        folder.file(name),
        f"{why}. `motif dataset verify {dataset} --repair` moves it away; the next `motif preprocess` recomputes it.",
    )


def missing(folder: Folder, name: str) -> MissingPart:
    """The error for a part that is gone, with a remedy."""
    return MissingPart(
        f"{folder.file(name)} is gone: another command has replaced or moved it meanwhile, such as `motif dataset "
        "compact` or `verify --repair`. Run the same command again."
    )


@contextlib.contextmanager
def _checked(folder: Folder, name: str) -> Iterator[None]:
    """Turn pyarrow's errors about invalid files into DamagedFile; errors of the store pass unchanged."""
    try:
        with explained(folder.uri):
            yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, UnicodeDecodeError) as error:
        # pyarrow's own errors have no errno; an unreadable disk sector gives EIO.
        if isinstance(error, OSError) and error.errno not in (None, errno.EIO):
            raise
        raise damaged(folder, name, (str(error).splitlines() or [type(error).__name__])[0]) from error


def open_source(folder: Folder, name: str) -> pa.NativeFile:
    """Open a part's file: mapped into memory, or of an object store read at once if it is small.

    MissingPart if there is no such file.
    """
    fs, path = split(folder.file(name))
    try:
        if not folder.remote:
            return pa.memory_map(path)
        file = fs.open_input_file(path)
    except FileNotFoundError as error:
        raise missing(folder, name) from error
    size = file.size()
    if size > _FIRST_READ:
        return file
    with file:
        return pa.BufferReader(file.read_at(size, 0))


def _read_footer(source: pa.NativeFile) -> Footer:
    size = source.size()
    if size < len(_MAGIC) + _TAIL:
        raise ValueError(f"{size} bytes are not a Parquet file")
    tail = source.read_at(min(size, _FIRST_READ), max(0, size - _FIRST_READ))
    if tail[-len(_MAGIC) :] != _MAGIC:
        raise ValueError("its end is missing")
    start = size - _TAIL - int.from_bytes(tail[-_TAIL : -len(_MAGIC)], "little")
    if start < len(_MAGIC):
        raise ValueError("the footer's length is wrong")
    footer = tail[start - size :] if size - start <= len(tail) else source.read_at(size - start, start)
    seals = _SEAL.findall(footer)
    if seals and _footer_digest(footer, size) != seals[-1][0]:
        raise ValueError("the footer's checksum is wrong")
    metadata = pq.read_metadata(pa.BufferReader(_MAGIC + footer))
    if not seals and DIGESTS in (metadata.metadata or {}):
        raise ValueError("the seal of the footer is missing")
    return Footer(metadata, size, start, bool(seals), seals[-1][1] if seals else b"")


def read_footer(folder: Folder, name: str) -> Footer:
    """The checked footer of a part; DamagedFile if it is broken, MissingPart if there is no such part."""
    with _checked(folder, name), open_source(folder, name) as source:
        return _read_footer(source)


def footer_of(source: pa.NativeFile, folder: Folder, name: str) -> Footer:
    """The footer of an open part, checked as in :func:`read_footer`."""
    with _checked(folder, name):
        return _read_footer(source)


class PartFile:
    """A part opened for reading with checks; a context manager.

    DamagedFile if a check fails, MissingPart if there is no such file. Checks cost more than reading, and need not be
    repeated within a process: columns of row groups in ``proven`` are read unchecked, and verified ones are added. The
    caller must pass a set that belongs to this unchanged file.
    """

    def __init__(self, folder: Folder, name: str, proven: "Proven | None" = None) -> None:
        self.folder = folder
        self.name = name
        self.proven: Proven = set() if proven is None else proven
        with _checked(folder, name):
            self._source = open_source(folder, name)
            self.footer = _read_footer(self._source)
            self._file = self._open(checks=True)
            self._trusted: pq.ParquetFile | None = None
            self.schema: pa.Schema = self._file.schema_arrow
            self._digests = self.footer.digests
        self.group_rows = self.footer.group_rows

    def _open(self, *, checks: bool) -> pq.ParquetFile:
        return pq.ParquetFile(
            self._source,
            metadata=self.footer.metadata,
            pre_buffer=self.folder.remote,
            page_checksum_verification=checks,
        )

    def __enter__(self) -> "PartFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def read(self, columns: Sequence[str] | None = None, groups: Sequence[int] | None = None) -> pa.Table:
        """Rows of some row groups (by default all), with the given columns in order."""
        columns = self.schema.names if columns is None else list(columns)
        groups = range(len(self.group_rows)) if groups is None else groups
        if lacking := [column for column in columns if column not in self.schema.names]:
            raise damaged(self.folder, self.name, f"it has no column {lacking[0]}")
        with _checked(self.folder, self.name):
            asked = {(group, column) for group in groups for column in columns}
            trusted = asked <= self.proven
            if trusted and self._trusted is None:
                self._trusted = self._open(checks=False)
            file = self._trusted if trusted and self._trusted is not None else self._file
            table = file.read_row_groups(list(groups), columns, use_threads=False).select(columns)
            if not trusted:
                self._check_groups(table, groups)
                self.proven |= asked
        # Without seal and digests, which would not apply to a rewritten table.
        return table.replace_schema_metadata(self.footer.facts)

    def _check_groups(self, table: pa.Table, groups: Sequence[int]) -> None:
        first = 0
        for group in groups:
            self._check(table.slice(first, self.group_rows[group]), group)
            first += self.group_rows[group]
        if table.num_rows != first:
            raise ValueError(f"{table.num_rows} rows instead of {first}")

    def _check(self, rows: pa.Table, group: int) -> None:
        if not self.footer.sealed:
            return
        for column in rows.column_names:
            if digest(rows.column(column)) != self._digests[column][group]:
                raise ValueError(f"the values of column {column} have changed since they were written")

    def check_body(self) -> None:
        """Compare all bytes before the footer with the seal; DamagedFile if they differ."""
        if not self.footer.sealed:
            return
        found = blake3.blake3()
        with _checked(self.folder, self.name):
            for first in range(0, self.footer.start, 16 << 20):
                found.update(self._source.read_at(min(16 << 20, self.footer.start - first), first))
            if found.hexdigest(length=16).encode() != self.footer.body:
                raise ValueError("the file's checksum is wrong")


def read_part(folder: Folder, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A part (or some of its columns) as a checked table; DamagedFile if it is broken."""
    with PartFile(folder, name) as part:
        return part.read(columns)
