"""The order of new clips in a dataset: random, and independent of the manifest's order.

In a manifest, similar videos and clips of a video are often neighbours. Neighbours in a dataset are read together, so
manifest order must be broken up. Videos are sorted by a hash of (seed, content), which decides the part of a clip;
within a part, clips are sorted by slot, which is a hash, too. All clips of a video stay in one part (or two, at a
boundary), so that a video in object storage is downloaded once; within the part they are decoded video by video
(:func:`pipeline.graph.work.decode_order`).
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from base.storage.errors import explained
from dataset.parts.tables import PLANNED

# Buckets by the first bits of the hash, so that a million clips are sorted in batches of some thousand.
_BUCKET_BITS = 6
_BUCKETS = 1 << _BUCKET_BITS
_ROWS_A_BLOCK = 256
_KEY = pa.field("key", pa.uint64())
_PACKED = pa.ipc.IpcWriteOptions(compression="zstd")


class Shuffle:
    """Collects planned clips in any order and returns them in parts.

    The parts only depend on the set of clips and ``seed``. A context manager: clips wait in a temporary file, about
    280 bytes each.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._waiting: list[list[pa.Table]] = [[] for _ in range(_BUCKETS)]
        self._packed: list[list[tuple[int, int]]] = [[] for _ in range(_BUCKETS)]
        """Offsets and sizes in the file."""

    def __enter__(self) -> "Shuffle":
        self._file = tempfile.TemporaryFile()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, clips: pa.Table) -> None:
        """Add clips, rows of :data:`PLANNED`."""
        keys = _keys(self.seed, clips.column("content").to_pylist())
        buckets = keys >> np.uint64(64 - _BUCKET_BITS)
        order = np.argsort(buckets, kind="stable")
        clips = clips.append_column(_KEY, pa.array(keys)).take(pa.array(order)).combine_chunks()
        ends = np.searchsorted(buckets[order], np.arange(_BUCKETS + 1, dtype=np.uint64))
        for bucket, (first, end) in enumerate(pairwise(ends.tolist())):
            if first < end:
                self._put(bucket, clips.slice(first, end - first))

    def _put(self, bucket: int, clips: pa.Table) -> None:
        waiting = self._waiting[bucket]
        waiting.append(clips)
        if sum(table.num_rows for table in waiting) >= _ROWS_A_BLOCK:
            packed = _pack(pa.concat_tables(waiting).combine_chunks())
            with explained(tempfile.gettempdir()):  # it may be full
                self._packed[bucket].append((self._file.seek(0, os.SEEK_END), packed.size))
                self._file.write(packed)
            waiting.clear()

    def parts(self, size: int) -> Iterator[pa.Table]:
        """Parts of ``size`` clips, the last one possibly smaller, rows as :data:`PLANNED`. Empties the shuffle."""
        rest = PLANNED.empty_table()
        for bucket in range(_BUCKETS):
            rest = pa.concat_tables([rest, self._take(bucket)])
            whole = rest.num_rows - rest.num_rows % size
            for first in range(0, whole, size):
                yield _spread(rest.slice(first, size))
            rest = rest.slice(whole)
        if rest.num_rows:
            yield _spread(rest)

    def _take(self, bucket: int) -> pa.Table:
        """The clips of a bucket video by video, in the order of the hashes."""
        tables = [_unpack(self._read(*place)) for place in self._packed[bucket]] + self._waiting[bucket]
        self._packed[bucket], self._waiting[bucket] = [], []
        if not tables:
            return PLANNED.empty_table()
        return pa.concat_tables(tables).sort_by([(_KEY.name, "ascending"), ("slot", "ascending")]).select(PLANNED.names)

    def _read(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)


def _spread(part: pa.Table) -> pa.Table:
    """The clips of a part in an order independent of their videos."""
    return part.sort_by("slot").combine_chunks()


def _keys(seed: int, contents: Sequence[str]) -> np.ndarray:
    """The place of each video in the order, ``uint64``."""
    digests = [hashlib.blake2b(f"order|{seed}|{content}".encode(), digest_size=8).digest() for content in contents]
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


def _pack(table: pa.Table) -> pa.Buffer:
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, table.schema, options=_PACKED) as writer:
        writer.write_table(table)
    return stream.getvalue()


def _unpack(packed: bytes) -> pa.Table:
    return pa.ipc.open_stream(packed).read_all()
