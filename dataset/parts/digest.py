"""Digests of a column: its null rows, and its values unless they are tensors.

A digest depends on logical values, not on memory layout (slices, chunks). Digests are stored in parts, so the digest
of a type that has been written must never change.
"""

from typing import Any

import blake3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def digest(column: "pa.Array | pa.ChunkedArray") -> str:
    """16 hex digits over a column's null rows, and over its values unless they are tensors.

    ValueError for unsupported types.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    found = blake3.blake3()
    _add_validity(found, array)
    kind = array.type
    if pa.types.is_large_binary(kind):  # tensors: large, and protected by page checksums
        found.update(_ends(array)[0][np.asarray(array.is_valid())].tobytes())
    elif not pa.types.is_fixed_size_binary(kind):
        _add_values(found, _without_nulls(array))
    digits: str = found.hexdigest(length=8)
    return digits


def check_types(schema: pa.Schema, data: pa.Buffer) -> None:
    """Check that Parquet preserves the column types, as digests require; ValueError otherwise."""
    came = pq.read_schema(pa.BufferReader(data))
    for written, read in zip(schema, came, strict=True):
        if written.type != read.type:
            raise ValueError(
                f"column {written.name}: Parquet reads {written.type} back as {read.type}. Convert it to that before "
                "writing."
            )


def _add_validity(found: Any, array: pa.Array) -> None:
    found.update(len(array).to_bytes(8, "little") + np.packbits(np.asarray(array.is_valid())).tobytes())


def _add_values(found: Any, array: pa.Array) -> None:
    """Add values without nulls."""
    kind = array.type
    if pa.types.is_null(kind):
        return
    if pa.types.is_string(kind) or pa.types.is_binary(kind) or _is_large(kind):
        lengths, data = _ends(array)
        found.update(lengths.tobytes())
        found.update(data)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        found.update(np.diff(array.offsets.to_numpy()).tobytes())
        _add_nested(found, array.flatten())
    elif pa.types.is_fixed_size_list(kind) or pa.types.is_struct(kind):
        for child in [array.flatten()] if pa.types.is_fixed_size_list(kind) else array.flatten():
            _add_nested(found, child)
    elif pa.types.is_dictionary(kind):
        _add_nested(found, array.dictionary_decode())
    elif pa.types.is_fixed_size_binary(kind) or pa.types.is_decimal(kind) or pa.types.is_time(kind):
        width, data = kind.bit_width // 8, array.buffers()[1]
        found.update(memoryview(data)[array.offset * width : (array.offset + len(array)) * width])
    else:
        values = np.ascontiguousarray(array.to_numpy(zero_copy_only=False))
        if values.dtype.hasobject:  # object arrays hold addresses
            raise ValueError(f"no digest is known for values of the type {kind}")
        found.update(values.tobytes())


def _add_nested(found: Any, array: pa.Array) -> None:
    _add_validity(found, array)
    _add_values(found, _without_nulls(array))


def _without_nulls(array: pa.Array) -> pa.Array:
    try:
        return array.drop_null()
    except pa.ArrowNotImplementedError as error:
        raise ValueError(f"no digest is known for values of the type {array.type}") from error


def _is_large(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind) or pa.types.is_large_binary(kind))


def _ends(array: pa.Array) -> tuple[np.ndarray, memoryview]:
    """The lengths of strings or bytes, and the joined data; nulls have arbitrary lengths."""
    width = np.int64 if _is_large(array.type) else np.int32
    if len(array) == 0:
        return np.empty(0, width), memoryview(b"")
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, width)[array.offset : array.offset + len(array) + 1]
    return np.diff(ends), memoryview(data if data is not None else b"")[ends[0] : ends[-1]]
