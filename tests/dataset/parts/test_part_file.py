"""A damaged part is noticed, whatever was done to it: nothing that is read differs in silence from what was written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.errors import DamagedFile
from base.storage.folder import Folder
from dataset.parts.part_file import PartFile, read_footer, read_part
from dataset.parts.tables import part_facts, part_names, read_parts
from dataset.reading import FeatureReader, TextReader
from tests.pipeline.datasets import reject, source, write_dataset, write_rejects, write_sources

ARTIFACTS = ("latents", "heatmaps", "text", "clips", "sources", "rejects")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A small dataset with every kind of part; of the artifacts, some clips failed. Not to be written to."""
    made = write_dataset(Folder(str(tmp_path_factory.mktemp("d"))), {"latents": {1, 4}, "heatmaps": {4}})
    write_sources(made, "part-s.parquet", [source(f"{n}.mp4") for n in range(9)], order=3)
    write_rejects(made, "part-r.parquet", [reject(f"s{n}", score=0.1 * n) for n in range(5)])
    return made


@pytest.fixture
def copy(dataset: Folder, tmp_path: Path) -> Folder:
    return Folder(str(shutil.copytree(dataset.path, tmp_path / "copy")))


def flips(data: bytes, count: int, seed: int) -> "list[tuple[int, bytes]]":
    """``count`` copies with one bit flipped, at places all over the file."""
    found = []
    for bit in np.random.default_rng(seed).choice(len(data) * 8, count, replace=False).tolist():
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        found.append((bit, bytes(changed)))
    return found


def notices(folder: Folder, part: str) -> bool:
    """Whether a look at a part as thorough as `motif dataset verify`'s says that it is damaged."""
    try:
        with PartFile(folder, part) as file:
            file.read()
            file.check_body()
    except DamagedFile:
        return True
    return not file.footer.sealed


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_of_60_flipped_bits_60_are_noticed(copy: Folder, artifact: str) -> None:
    folder = copy / artifact
    part = part_names(folder)[0]
    assert not notices(folder, part)
    unnoticed = []
    for bit, changed in flips(folder.read(part), 60, seed=len(artifact)):
        (folder.path / part).write_bytes(changed)
        unnoticed += [] if notices(folder, part) else [bit]
    assert unnoticed == []


def differs_in_silence(folder: Folder, part: str, data: bytes, expected: pa.Table, facts: dict[str, str]) -> bool:
    (folder.path / part).write_bytes(data)
    try:
        return not (read_part(folder, part).equals(expected) and part_facts(folder, part) == facts)
    except DamagedFile:
        return False


@pytest.mark.parametrize("artifact", ARTIFACTS)
@pytest.mark.parametrize("count", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_no_flipped_bit_changes_what_a_reader_gets(copy: Folder, artifact: str, count: int) -> None:
    """A reader checks no more than it reads, so bits that carry nothing may flip; none changes a value or a fact."""
    folder = copy / artifact
    part = part_names(folder)[0]
    whole = folder.read(part)
    expected, facts = read_part(folder, part), part_facts(folder, part)
    tried = flips(whole, count, count)
    assert [bit for bit, data in tried if differs_in_silence(folder, part, data, expected, facts)] == []


def truncated(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def without_its_middle(data: bytes) -> bytes:
    return data[: len(data) // 3] + data[len(data) // 3 + 16 :]


def zeroed(data: bytes) -> bytes:
    return data[:64] + bytes(128) + data[192:]


def longer(data: bytes) -> bytes:
    return data + data[-200:]


def twice(data: bytes) -> bytes:
    return data + data


@pytest.mark.parametrize(
    "damage", [truncated, without_its_middle, zeroed, longer, twice, lambda data: b"", bytes.upper]
)
@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_other_damage_is_noticed_by_a_reader(copy: Folder, artifact: str, damage: Callable[[bytes], bytes]) -> None:
    folder = copy / artifact
    part = part_names(folder)[0]
    (folder.path / part).write_bytes(damage(folder.read(part)))
    with pytest.raises(DamagedFile, match=r"is damaged.*`motif dataset verify .*copy --repair`"):
        read_part(folder, part)


def test_training_reads_no_part_of_other_clips(copy: Folder) -> None:
    folder = copy.path / "heatmaps"
    (folder / "part-a.parquet").rename(folder / "x")
    (folder / "part-b.parquet").rename(folder / "part-a.parquet")
    (folder / "x").rename(folder / "part-b.parquet")
    reader = FeatureReader(copy, ("latents", "heatmaps"))
    with pytest.raises(DamagedFile, match="heatmaps/part-[ab].parquet is damaged: its clips do not match the part of"):
        list(reader.samples(0, 0))


def test_training_says_which_part_is_damaged_or_gone(copy: Folder) -> None:
    reader = FeatureReader(copy, ("latents",), open_files=1)
    path = copy.path / "latents" / "part-b.parquet"
    data = path.read_bytes()
    path.write_bytes(zeroed(data))
    with pytest.raises(DamagedFile, match="latents/part-b.parquet is damaged"):
        list(reader.samples(0, 0))
    reader.read(reader.groups[0])  # of part-a: that one is open now
    path.unlink()
    with pytest.raises(DamagedFile, match="latents/part-b.parquet is damaged: it is missing"):
        list(reader.samples(0, 0))


def test_states_of_captions_are_checked(copy: Folder) -> None:
    path = copy.path / "text" / "part-b.parquet"
    whole = path.read_bytes()
    with PartFile(copy / "text", path.name) as file:
        at = file.footer.metadata.row_group(1).column(2).data_page_offset + 60
    text, captions = TextReader(copy), read_part(copy / "text", path.name, ["text_id"]).column("text_id").to_pylist()
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
    with pytest.raises(DamagedFile, match="text/part-b.parquet"):
        [text.states(caption) for caption in captions]


def test_a_part_without_seal_is_read_as_version_1_wrote_it(copy: Folder) -> None:
    table = read_part(copy / "latents", "part-a.parquet")
    pq.write_table(table, copy.path / "latents" / "part-a.parquet")
    assert read_part(copy / "latents", "part-a.parquet", ["mean"]).equals(table.select(["mean"]))
    assert not read_footer(copy / "latents", "part-a.parquet").sealed


def test_a_missing_column_is_told(copy: Folder) -> None:
    with pytest.raises(DamagedFile, match="it has no column median"):
        read_parts(copy / "latents", ["median"])


def test_a_part_is_read_alike_from_a_bucket(dataset: Folder, bucket: str) -> None:
    there = Folder(f"{bucket}/d/latents")
    data = (dataset / "latents").read("part-a.parquet")
    there.write("part-a.parquet", data)
    assert read_part(there, "part-a.parquet").equals(read_part(dataset / "latents", "part-a.parquet"))
    there.write("part-a.parquet", zeroed(data))
    with pytest.raises(DamagedFile, match=r"s3://.*verify s3://.*/d --repair"):
        read_part(there, "part-a.parquet")
    with pytest.raises(FileNotFoundError):
        read_part(there, "part-x.parquet")


def test_what_is_proven_is_read_unchecked_and_only_that(copy: Folder) -> None:
    folder = copy / "latents"
    part = part_names(folder)[0]
    with PartFile(folder, part) as file:
        columns = [name for name in file.schema.names if name != "clip_id"]
        first = file.read(columns[:1], [0])
        assert file.proven == {(0, columns[0])}
        assert file.read(columns[:1], [0]) == first
        assert file.proven == {(0, columns[0])}
        file.read()
        assert file.proven == {(group, name) for group in range(len(file.group_rows)) for name in file.schema.names}
        assert file.read() == read_part(folder, part)


def test_a_part_that_is_written_to_between_epochs_is_checked_again(copy: Folder) -> None:
    """Each epoch opens parts anew where few are kept open; what was proven holds for the same file only."""
    reader = FeatureReader(copy, ("latents", "heatmaps"), open_files=1)
    first = [sample["clip_id"] for sample in reader.samples(0, 0)]
    assert sorted(sample["clip_id"] for sample in reader.samples(0, 1)) == sorted(first)
    path = (copy / "latents").path / part_names(copy / "latents")[0]
    column = read_footer(copy / "latents", path.name).metadata.row_group(0).column(1)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size - 8] ^= 16  # a value: only the checks can tell
    path.write_bytes(data)
    with pytest.raises(DamagedFile):
        list(reader.samples(0, 2))
