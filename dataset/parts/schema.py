"""Columns of a part file: plain scalars, and tensors as large binary with shape and dtype in the metadata.

Any Parquet reader can decode a tensor with one ``np.frombuffer``; list columns would be ten times slower. Version 1
datasets have fixed-size binary, which Hugging Face `datasets` cannot read; both are supported here.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """One column of an artifact.

    ``dtype`` is numpy's name, ``shape`` empty for a scalar, ``axes`` the names of a tensor's axes (``"c t h w"``).
    The actual value is ``stored * scale`` (heatmaps: uint8 with scale 1/255).
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    axes: str = ""
    scale: float = 1.0
    about: str = ""

    def __post_init__(self) -> None:
        """A tensor's axes must fit its shape."""
        assert not self.shape or len(self.axes.split()) == len(self.shape), self

    @property
    def nbytes(self) -> int:
        """Bytes of one value."""
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
        }
        return pa.field(self.name, pa.large_binary(), metadata=facts | about)

    @classmethod
    def of(cls, field: pa.Field) -> "Column":
        """The column that :meth:`field` described."""
        facts = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        if "shape" not in facts:
            return cls(field.name, str(field.type.to_pandas_dtype().__name__), about=facts.get("about", ""))
        shape = tuple(int(size) for size in facts["shape"].split(","))
        return cls(field.name, facts["dtype"], shape, facts["axes"], float(facts["scale"]), facts.get("about", ""))

    def to_arrow(self, values: np.ndarray, valid: "np.ndarray | None" = None) -> pa.Array:
        """Values ``[n, *shape]`` as an Arrow array, zero-copy for contiguous tensors; null if not ``valid``."""
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

    def to_numpy(self, array: "pa.Array | pa.ChunkedArray") -> np.ndarray:
        """Stored values ``[n, *shape]`` of an Arrow array, zero-copy for one chunk; nulls hold arbitrary values.

        ValueError if a tensor does not have the declared size.
        """
        if isinstance(array, pa.ChunkedArray):
            array = array.chunk(0) if array.num_chunks == 1 else pa.concat_arrays(array.chunks)
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
    return facts | ({"about": column.about} if column.about else {})
