from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.storage.folder import Folder
from dataset.parts.part_file import read_part
from dataset.parts.schema import Column
from dataset.parts.tables import StoreOptions, part_facts, part_names, read_parts, write_part

TENSOR = Column("latent", "float16", (2, 3), "c w")


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(request.getfixturevalue("bucket") + "/d" if request.param == "s3" else str(tmp_path / "d"))


def table(first: int, rows: int = 10) -> pa.Table:
    values = np.random.default_rng(first).standard_normal((rows, 2, 3)).astype(np.float16)
    ids = pa.array([f"clip{first + row}" for row in range(rows)])
    schema = pa.schema([("clip_id", pa.string()), TENSOR.field()])
    return pa.table([ids, TENSOR.to_arrow(values)], schema=schema)


def test_parts_are_read_one_after_the_other(folder: Folder) -> None:
    assert part_names(folder) == []
    assert read_parts(folder, ["clip_id"]).num_rows == 0
    write_part(folder, "b.parquet", table(0), StoreOptions(), {"fingerprint": "f"})
    size = write_part(folder, "a.parquet", table(10), StoreOptions(), {"fingerprint": "g"})
    folder.write("other.json", b"{}")
    assert part_names(folder) == ["a.parquet", "b.parquet"]
    assert folder.files()[0].size == size
    assert read_parts(folder, ["clip_id"])[0].to_pylist() == [f"clip{n}" for n in (*range(10, 20), *range(10))]
    assert read_parts(folder, ["clip_id"], ["b.parquet"])[0].to_pylist() == [f"clip{n}" for n in range(10)]
    both = read_parts(folder, ["clip_id", "latent"], ["b.parquet", "a.parquet"])
    np.testing.assert_array_equal(
        TENSOR.to_numpy(both["latent"]),
        np.concatenate([TENSOR.to_numpy(table(first)["latent"]) for first in (0, 10)]),
    )


def test_facts_of_a_part(folder: Folder) -> None:
    write_part(folder, "a.parquet", table(0), StoreOptions(), {"fingerprint": "f", "clips_part": ""})
    assert part_facts(folder, "a.parquet") == {"fingerprint": "f", "clips_part": "", "part": "a.parquet"}
    write_part(folder, "a.parquet", table(0), StoreOptions(), {})
    assert part_facts(folder, "a.parquet") == {"part": "a.parquet"}


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_every_compression_gives_the_same_table(tmp_path: Path, compression: str) -> None:
    folder = Folder(str(tmp_path))
    write_part(folder, "a.parquet", table(0), StoreOptions(8, 4, compression), {"fingerprint": "f"})  # type: ignore[arg-type]
    assert read_part(folder, "a.parquet").equals(table(0))
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [4, 4, 2]
    used = {metadata.row_group(0).column(number).compression for number in range(2)}
    assert used == {{"none": "UNCOMPRESSED", "lz4": "LZ4", "zstd": "ZSTD"}[compression]}


def test_the_same_table_makes_the_same_bytes(tmp_path: Path) -> None:
    folder, facts = Folder(str(tmp_path)), {"fingerprint": "f"}
    others = Folder(str(tmp_path / "b")), Folder(str(tmp_path / "c"))
    write_part(folder, "a.parquet", table(0), StoreOptions(8, 4), facts)
    write_part(others[0], "a.parquet", table(0), StoreOptions(8, 4), facts)
    pieces = pa.concat_tables([table(0).slice(0, 3), table(0).slice(3, 7)])
    assert pieces["latent"].num_chunks == 2
    write_part(others[1], "a.parquet", pieces, StoreOptions(8, 4), facts)
    first = folder.read("a.parquet")
    assert [other.read("a.parquet") for other in others] == [first, first]
    write_part(folder, "a.parquet", table(0), StoreOptions(8, 4), {"fingerprint": "g"})
    assert first != folder.read("a.parquet")


def test_nothing_but_the_part_is_left(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    for _ in range(2):
        write_part(folder, "a.parquet", table(0), StoreOptions(), {})
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_a_part_that_cannot_be_put_in_place_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").mkdir()
    with pytest.raises(OSError, match="a.parquet"):
        write_part(Folder(str(tmp_path)), "a.parquet", table(0), StoreOptions(), {})
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_a_part_that_is_not_there(folder: Folder) -> None:
    write_part(folder, "a.parquet", table(0), StoreOptions(), {})
    with pytest.raises(FileNotFoundError):
        read_parts(folder, ["clip_id"], ["a.parquet", "b.parquet"])
    with pytest.raises(FileNotFoundError):
        part_facts(folder, "b.parquet")


def test_ids_can_be_searched_and_tensors_need_not_be(tmp_path: Path) -> None:
    """Statistics of tensors would cost time and help nobody."""
    write_part(Folder(str(tmp_path)), "a.parquet", table(0), StoreOptions(), {})
    group = pq.read_metadata(tmp_path / "a.parquet").row_group(0)
    assert [group.column(number).is_stats_set for number in range(2)] == [True, False]
