"""Columns of a part file: plain scalars, and tensors as large binary with shape and dtype in the metadata.

Any Parquet reader can decode a tensor with one ``np.frombuffer``; list columns would be ten times slower. Version 1
datasets have fixed-size binary, which Hugging Face `datasets` cannot read; both are supported here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """One column of an artifact.

    ``dtype`` is numpy's name, ``shape`` empty for a scalar, ``axes`` the names of a tensor's axes (``"c t h w"``).
    The actual value is ``stored * scale`` (heatmaps: uint8 with scale 1/255). Values of a ``ragged`` tensor may be
    shorter along the first axis, of which ``shape`` has the greatest length; the bytes of a value say how long it is.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    axes: str = ""
    scale: float = 1.0
    about: str = ""
    ragged: bool = False

    def __post_init__(self) -> None:
        """A tensor's axes must fit its shape."""
        assert not self.shape or len(self.axes.split()) == len(self.shape), self
        assert self.shape or not self.ragged, self

    @property
    def nbytes(self) -> int:
        """Bytes of one value; of a ragged one, the most."""
        return np.dtype(self.dtype).itemsize * math.prod(self.shape)

    def field(self) -> pa.Field:
        """The Arrow field; for a tensor with decoding information in its metadata."""
        about = {"about": self.about} if self.about else {}
        if not self.shape:
            return pa.field(self.name, pa.from_numpy_dtype(np.dtype(self.dtype)), metadata=about or None)
        facts = {
            "dtype": self.dtype,
            "shape": ",".join(map(str, self.shape)),
            "axes": self.axes,
            "scale": repr(self.scale),
        } | ({"ragged": "true"} if self.ragged else {})
        return pa.field(self.name, pa.large_binary(), metadata=facts | about)

    @classmethod
    def of(cls, field: pa.Field) -> "Column":
        """The column that :meth:`field` described."""
        facts = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        if "shape" not in facts:
            return cls(field.name, str(field.type.to_pandas_dtype().__name__), about=facts.get("about", ""))
        shape = tuple(int(size) for size in facts["shape"].split(","))
        scale, about, ragged = float(facts["scale"]), facts.get("about", ""), facts.get("ragged") == "true"
        return cls(field.name, facts["dtype"], shape, facts["axes"], scale, about, ragged)

    def to_arrow(self, values: "np.ndarray | Sequence[np.ndarray]", valid: "np.ndarray | None" = None) -> pa.Array:
        """Values ``[n, *shape]`` as an Arrow array, zero-copy for contiguous tensors; null if not ``valid``.

        Ragged values are given one by one, and all are valid.
        """
        if self.ragged:
            assert valid is None, self
            return self._ragged_to_arrow(values)
        values = np.asarray(values)
        if values.shape[1:] != self.shape or values.dtype != np.dtype(self.dtype):
            raise ValueError(
                f"column {self.name}: expected {self.dtype} n x {self.shape}, got {values.dtype} {values.shape}"
            )
        mask = None if valid is None or valid.all() else ~valid
        if not self.shape:
            return pa.array(values, mask=mask)
        data = pa.py_buffer(np.ascontiguousarray(values).reshape(-1).view(np.uint8))
        bitmap = None if mask is None else pa.array(~mask).buffers()[1]
        ends = pa.py_buffer(np.arange(len(values) + 1, dtype=np.int64) * self.nbytes)
        return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(values), [bitmap, ends, data])

    def _ragged_to_arrow(self, values: "np.ndarray | Sequence[np.ndarray]") -> pa.Array:
        for value in values:
            fits = value.shape[1:] == self.shape[1:] and len(value) <= self.shape[0]
            if not fits or value.dtype != np.dtype(self.dtype):
                most = f"expected {self.dtype} of at most {self.shape}"
                raise ValueError(f"column {self.name}: {most}, got {value.dtype} {value.shape}")
        return pa.array([np.ascontiguousarray(value).tobytes() for value in values], pa.large_binary())

    def to_arrays(self, array: "pa.Array | pa.ChunkedArray") -> list[np.ndarray]:
        """Each stored value as it is, ragged ones in their own length; views. ValueError as :meth:`to_numpy`."""
        if not self.ragged:
            return list(self.to_numpy(array))
        array = _one_chunk(array)
        if len(array) == 0:
            return []
        _, offsets, buffer = array.buffers()
        ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
        row = self.nbytes // self.shape[0]
        sizes = np.diff(ends)
        if wrong := np.flatnonzero((sizes > self.nbytes) | (sizes % row != 0)).tolist():
            most = f"instead of at most {self.nbytes}, in steps of {row}"
            raise ValueError(f"column {self.name}: a value has {sizes[wrong[0]]} bytes {most}")
        found = (_bytes(buffer, int(end), int(size)) for end, size in zip(ends, sizes, strict=False))
        return [value.view(self.dtype).reshape(-1, *self.shape[1:]) for value in found]

    def to_numpy(self, array: "pa.Array | pa.ChunkedArray") -> np.ndarray:
        """Stored values ``[n, *shape]`` of an Arrow array, zero-copy for one chunk; nulls hold arbitrary values.

        Ragged ones are followed by zeros. ValueError if a tensor does not have the declared size.
        """
        if self.ragged:
            found = self.to_arrays(array)
            padded = np.zeros((len(found), *self.shape), self.dtype)
            for place, value in zip(padded, found, strict=True):
                place[: len(value)] = value
            return padded
        array = _one_chunk(array)
        if not self.shape:  # nulls would turn integers into floats
            return np.asarray(array.fill_null(0).to_numpy(zero_copy_only=False))
        if pa.types.is_fixed_size_binary(array.type):  # version 1
            data = _bytes(array.buffers()[1], array.offset * self.nbytes, len(array) * self.nbytes)
        else:
            data = self._large(array)
        return data.view(self.dtype).reshape(len(array), *self.shape)

    def _large(self, array: pa.Array) -> np.ndarray:
        _, offsets, buffer = array.buffers()
        ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
        if len(array) == 0:
            return np.empty(0, np.uint8)
        if (np.diff(ends) == self.nbytes).all():
            return _bytes(buffer, int(ends[0]), len(array) * self.nbytes)
        valid = np.asarray(array.is_valid())
        if wrong := np.flatnonzero(valid & (np.diff(ends) != self.nbytes)).tolist():
            size = int(ends[wrong[0] + 1] - ends[wrong[0]])
            raise ValueError(f"column {self.name}: a value has {size} bytes instead of {self.nbytes}")
        spread = np.zeros((len(array), self.nbytes), np.uint8)  # nulls take no bytes in the file
        for row in np.flatnonzero(valid):
            spread[row] = _bytes(buffer, int(ends[row]), self.nbytes)
        return spread.reshape(-1)


def _one_chunk(array: "pa.Array | pa.ChunkedArray") -> pa.Array:
    if isinstance(array, pa.ChunkedArray):
        return array.chunk(0) if array.num_chunks == 1 else pa.concat_arrays(array.chunks)
    return array


def _bytes(buffer: pa.Buffer, first: int, size: int) -> np.ndarray:
    return np.frombuffer(buffer, np.uint8, size, first)


def columns_of(schema: pa.Schema) -> "dict[str, Column]":
    """The tensor columns of a part's schema, by name."""
    return {f.name: Column.of(f) for f in schema if f.metadata is not None and b"shape" in f.metadata}


def describe(column: Column) -> dict[str, Any]:
    """A column as plain JSON, for dataset.json."""
    facts: dict[str, Any] = {"dtype": column.dtype}
    if column.shape:
        facts |= {"shape": list(column.shape), "axes": column.axes, "scale": column.scale}
        facts |= {"ragged": True} if column.ragged else {}
    return facts | ({"about": column.about} if column.about else {})
