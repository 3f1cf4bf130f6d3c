import numpy as np
import pyarrow as pa
import pytest

from base.storage.folder import Folder
from dataset.parts.part_file import read_part
from dataset.parts.schema import Column
from dataset.parts.tables import StoreOptions, write_part

TENSOR = Column("latent", "float16", (2, 3, 4), "c h w", about="test")


def test_tensors_are_views_both_ways() -> None:
    values = np.arange(5 * 24, dtype=np.float16).reshape(5, 2, 3, 4)
    array = TENSOR.to_arrow(values)
    assert array.buffers()[2].address == values.ctypes.data
    back = TENSOR.to_numpy(array)
    assert np.shares_memory(back, values)
    np.testing.assert_array_equal(TENSOR.to_numpy(array.slice(1, 3)), values[1:4])
    np.testing.assert_array_equal(TENSOR.to_numpy(pa.chunked_array([array[:2], array[2:]])), values)


def test_nulls() -> None:
    values = np.ones((3, 2, 3, 4), np.float16)
    array = TENSOR.to_arrow(values, np.array([True, False, True]))
    assert array.is_valid().to_pylist() == [True, False, True]
    scalar = Column("score", "float32").to_arrow(np.array([1, 2, 3], np.float32), np.array([True, True, False]))
    assert scalar.to_pylist() == [1, 2, None]


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_a_file_describes_its_own_tensors(tmp_path: object, compression: str) -> None:
    values = np.random.default_rng(0).standard_normal((20, 2, 3, 4)).astype(np.float16)
    folder = Folder(str(tmp_path))
    table = pa.table([TENSOR.to_arrow(values)], schema=pa.schema([TENSOR.field()]))
    write_part(folder, "p.parquet", table, StoreOptions(8, 4, compression), {"fingerprint": "f"})  # type: ignore[arg-type]
    read = read_part(folder, "p.parquet")
    column = Column.of(read.schema.field("latent"))
    assert column == TENSOR
    np.testing.assert_array_equal(column.to_numpy(read.column("latent")), values)


def test_wrong_values_are_refused() -> None:
    with pytest.raises(ValueError, match=r"column latent: expected float16 n x \(2, 3, 4\), got float32"):
        TENSOR.to_arrow(np.zeros((1, 2, 3, 4), np.float32))


RAGGED = Column("states", "float16", (4, 3), "l d", about="test", ragged=True)


def drawn(lengths: list[int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((length, 3)).astype(np.float16) for length in lengths]


@pytest.mark.parametrize("lengths", [[2, 4, 1], [4, 4], [0, 3, 0], [0, 0], []])
def test_ragged_tensors_keep_their_length_and_are_read_with_zeros_as_well(lengths: list[int], tmp_path: object) -> None:
    values, folder = drawn(lengths), Folder(str(tmp_path))
    table = pa.table([RAGGED.to_arrow(values)], schema=pa.schema([RAGGED.field()]))
    write_part(folder, "p.parquet", table, StoreOptions(8, 4, "lz4"), {"fingerprint": "f"})
    read = read_part(folder, "p.parquet")
    column, array = Column.of(read.schema.field("states")), read.column("states")
    assert column == RAGGED
    found, padded = column.to_arrays(array), column.to_numpy(array)
    assert padded.shape == (len(lengths), 4, 3)
    for one, with_zeros, value in zip(found, padded, values, strict=True):
        assert one.dtype == value.dtype
        assert one.shape == value.shape
        assert one.tobytes() == value.tobytes()
        np.testing.assert_array_equal(with_zeros, np.pad(value, ((0, 4 - len(value)), (0, 0))))
    assert array.nbytes <= sum(value.nbytes for value in values) + 8 * (len(values) + 1) + 8


def test_ragged_tensors_of_a_slice_and_of_chunks() -> None:
    values = drawn([2, 4, 1, 3])
    array = RAGGED.to_arrow(values)
    for part, expected in ((array.slice(1, 2), values[1:3]), (pa.chunked_array([array[:1], array[1:]]), values)):
        assert [one.tobytes() for one in RAGGED.to_arrays(part)] == [value.tobytes() for value in expected]


def test_tensors_of_one_shape_are_read_one_by_one_as_well() -> None:
    values = np.arange(5 * 24, dtype=np.float16).reshape(5, 2, 3, 4)
    np.testing.assert_array_equal(TENSOR.to_arrays(TENSOR.to_arrow(values)), values)


@pytest.mark.parametrize("wrong", [np.zeros((5, 3), np.float16), np.zeros((2, 4), np.float16), np.zeros((2, 3))])
def test_ragged_values_that_do_not_fit_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"column states: expected float16 of at most \(4, 3\), got "):
        RAGGED.to_arrow([np.zeros((1, 3), np.float16), wrong])


@pytest.mark.parametrize("size", [5, 30])
def test_ragged_values_of_a_wrong_size_are_damage(size: int) -> None:
    array = pa.array([b"x" * 6, b"x" * size], pa.large_binary())
    with pytest.raises(ValueError, match=f"a value has {size} bytes instead of at most 24, in steps of 6"):
        RAGGED.to_arrays(array)
