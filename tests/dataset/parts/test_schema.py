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
