"""A member of a shard as a file in memory, with a path that decoders can open."""

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from base.storage.errors import explained
from base.storage.uri import split
from pipeline.manifest.members import ParquetValue, TarMember
from pipeline.video.errors import VideoError

_CHUNK = 4 << 20
# Column pages are read row by row instead of a whole row group at once.
_PARQUET_BUFFER = 1 << 20


class MemberFile:
    """Holds one member at a time; its path is valid until the next one is loaded."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._values = _ParquetValues()

    def bring(self, member: TarMember | ParquetValue) -> Path:
        """A local path with the bytes of the member.

        Raises VideoError if the shard or member is missing, StorageError if the store fails.
        """
        self.close()
        # Each member gets a new anonymous file, so that caches by inode never mix members.
        self._descriptor = os.memfd_create("motif-member", 0)
        try:
            with explained(member.container), os.fdopen(os.dup(self._descriptor), "wb") as file:
                for chunk in _tar_bytes(member) if isinstance(member, TarMember) else self._values.read(member):
                    file.write(chunk)
        except FileNotFoundError as error:
            raise VideoError("MissingFile", f"there is no file {member.container}") from error
        return Path(f"/proc/self/fd/{self._descriptor}")

    def close(self) -> None:
        """Free the memory of the member."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _tar_bytes(member: TarMember) -> Iterator[bytes]:
    fs, path = split(member.container)
    with fs.open_input_file(path) as stream:
        if stream.size() < member.offset + member.size:
            raise VideoError("MissingFile", f"the shard ends inside its member {member.name}")
        stream.seek(member.offset)
        left = member.size
        while left and (chunk := stream.read(min(left, _CHUNK))):
            left -= len(chunk)
            yield chunk


class _ParquetValues:
    """Reads values of a column; rows in ascending order, as in a plan, are read once."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._next = 0
        self._rows: Iterator[bytes | None] = iter(())

    def read(self, value: ParquetValue) -> Iterator[bytes]:
        fs, path = split(value.container)
        info = fs.get_file_info(path)
        if info.type == pafs.FileType.NotFound:
            raise FileNotFoundError(value.container)
        # Size and time detect a replaced file.
        key = (value.container, info.size, info.mtime_ns, value.row_group, value.column)
        if key != self._key or value.row < self._next:
            self._rows, self._next, self._key = _column_values(fs, path, value), 0, key
        try:
            while True:
                found = next(self._rows)
                self._next += 1
                if self._next > value.row:
                    break
        except (StopIteration, pa.ArrowInvalid, ValueError, IndexError) as error:
            self._key = ()
            raise VideoError("MissingFile", f"the Parquet file has no such row: {error}".rstrip(": ")) from error
        if found is None:
            raise VideoError("MissingFile", f"row {value.row} of row group {value.row_group} holds no bytes")
        yield found


def _column_values(fs: pafs.FileSystem, path: str, value: ParquetValue) -> Iterator[bytes | None]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(fs.open_input_file(path), buffer_size=_PARQUET_BUFFER, pre_buffer=False)
    if value.row_group >= file.num_row_groups:
        raise IndexError(f"it has {file.num_row_groups} row groups")
    leaves = value.column.split(".") if value.column not in file.schema_arrow.names else [value.column]
    batches = file.iter_batches(batch_size=1, row_groups=[value.row_group], columns=[value.column], use_threads=False)
    for batch in batches:
        column = batch.column(0)
        for name in leaves[1:]:
            column = column.field(name) if not column.null_count else pa.nulls(1, pa.binary())
        for item in column:
            yield item.as_py()
