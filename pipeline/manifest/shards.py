"""WebDataset shards: tar files whose members with one name form a sample, read in place."""

import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import IO, cast

import pyarrow as pa

from base.storage.errors import explained
from base.storage.uri import is_remote, split
from pipeline.manifest.columns import ROWS, ManifestColumns, Row, storable
from pipeline.manifest.folders import sidecar_row
from pipeline.manifest.members import TarMember
from pipeline.manifest.samples import Sample, is_video, sample_key

_THREADS = 16
_LARGEST_SIDECAR = 16 << 20
# Headers and captions are between videos: one read gets a header with the small members after it.
_READ_AHEAD = 1 << 16
# Writers pad with zeros to records of 10 kB; this many bytes after the end marker are checked.
_TAIL = 1 << 20


def shard_batches(shards: list[str], columns: ManifestColumns) -> Iterator[pa.RecordBatch]:
    """Batches of :data:`ROWS`, one row per video, in the order of the shards."""
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(shards), _THREADS):
            for table in pool.map(lambda shard: shard_table(shard, columns), shards[start : start + _THREADS]):
                yield from table.to_batches()


def shard_table(shard: str, columns: ManifestColumns) -> pa.Table:
    """The videos of a shard as rows of :data:`ROWS`; the last row reports a truncated shard."""
    fs, path = split(shard)
    with explained(shard):
        info = fs.get_file_info(path)
    return _indexed(shard, info.size, info.mtime_ns, columns)


@lru_cache(maxsize=1 << 16)
def _indexed(shard: str, size: int, changed: int | None, columns: ManifestColumns) -> pa.Table:
    """The index of a shard, cached because a plan is made several times; size and time identify the shard."""
    fs, path = split(shard)
    rows: list[Row] = []
    with explained(shard), fs.open_input_file(path) as stream:
        try:
            source = _ReadAhead(stream) if is_remote(shard) else stream
            with tarfile.open(fileobj=cast(IO[bytes], source), mode="r:") as tar:
                for sample in _samples(tar, size):
                    rows += _sample_rows(shard, tar, sample, columns)
                _check_end(tar, stream, size)
        except tarfile.ReadError as error:
            rows.append((f"{shard}#end", None, None, None, f"BadShard: {error}, after {len(rows)} videos"))
    return pa.table([pa.array(column, field.type) for column, field in zip(_columns(rows), ROWS, strict=True)], ROWS)


def _check_end(tar: tarfile.TarFile, stream: pa.NativeFile, size: int) -> None:
    """Detect where tarfile stops silently: at an unreadable header, and at an end marker followed by more data."""
    end = int(tar.offset)
    stream.seek(min(end, size))
    tail = bytes(stream.read(_TAIL))
    if any(tail[:512]):
        raise tarfile.ReadError(f"the header at byte {end} is unreadable")
    if len(tail) < 512:
        raise tarfile.ReadError("the file has no end marker, so it may be truncated")
    if any(tail):
        raise tarfile.ReadError("there is data after its end marker: shards cannot be joined with cat")


def _columns(rows: list[Row]) -> list[tuple[object, ...]]:
    return list(zip(*map(storable, rows), strict=True)) if rows else [() for _ in ROWS]


def _samples(tar: tarfile.TarFile, size: int) -> Iterator[list[tarfile.TarInfo]]:
    """Consecutive members with the same name up to the first dot of the last path component."""
    sample: list[tarfile.TarInfo] = []
    for member in tar:
        if not member.isreg() or _is_hidden(member.name):
            continue
        if member.offset_data + member.size > size:
            if sample:
                yield sample
            raise tarfile.ReadError(f"the file ends within {member.name}")
        if sample and sample_key(member.name) != sample_key(sample[0].name):
            yield sample
            sample = []
        sample.append(member)
    if sample:
        yield sample


def _is_hidden(name: str) -> bool:
    """Hidden files, and members such as ``__key__``, which WebDataset reserves."""
    last = name.rsplit("/", 1)[-1]
    return last.startswith(".") or (name.startswith("__") and name.endswith("__"))


def _sample_rows(
    shard: str, tar: tarfile.TarFile, sample: list[tarfile.TarInfo], columns: ManifestColumns
) -> Iterator[Row]:
    names = Sample(member.name for member in sample)
    members = {member.name: member for member in sample}
    for member in sample:
        if is_video(member.name):
            uri = TarMember(shard, member.offset_data, member.size, member.name).uri
            try:
                found = _sidecars(names, member.name, columns)
            except ValueError as error:
                yield uri, None, None, None, f"BadRow: {error}"
                continue
            yield sidecar_row(uri, {kind: _read(tar, members[name]) for kind, name in found.items()}, columns)


def _sidecars(sample: Sample, video: str, columns: ManifestColumns) -> dict[str, str]:
    """The sidecar members of a video, by kind."""
    text = sample.beside(video, "txt")
    if text and not (columns.caption or columns.start or columns.end):
        return {"txt": text}  # no field is needed, so a broken .json must not fail the row
    found = {"txt": text, "json": sample.beside(video, "json")}
    return {kind: name for kind, name in found.items() if name}


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None, "samples hold regular files alone"
    return file.read(_LARGEST_SIDECAR)


class _ReadAhead:
    """A remote file with read-ahead, to need few requests for small reads close together."""

    def __init__(self, stream: pa.NativeFile) -> None:
        self._stream = stream
        self._at = 0
        self._start = 0
        self._bytes = b""

    def tell(self) -> int:
        return self._at

    def seek(self, place: int, whence: int = 0) -> int:
        assert whence == 0
        self._at = place
        return place

    def read(self, count: int) -> bytes:
        if not self._start <= self._at <= self._at + count <= self._start + len(self._bytes):
            self._stream.seek(min(self._at, self._stream.size()))
            self._start, self._bytes = self._at, bytes(self._stream.read(max(count, _READ_AHEAD)))
        offset = self._at - self._start
        piece = self._bytes[offset : offset + count]
        self._at += len(piece)
        return piece
