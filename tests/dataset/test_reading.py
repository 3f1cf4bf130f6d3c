import shutil
from pathlib import Path

import numpy as np
import pytest

from base.errors import InputError
from base.storage.folder import Folder
from dataset.identity import text_id
from dataset.parts.tables import StoreOptions
from dataset.reading import FeatureReader, TextReader
from tests.pipeline.datasets import CLIPS_IN_ALL, PARTS, clip, states, values, write_artifact, write_dataset

BOTH = ("latents", "heatmaps")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Not to be written to."""
    return write_dataset(Folder(str(tmp_path_factory.mktemp("reading") / "d")))


def order(reader: FeatureReader, seed: int = 0, epoch: int = 0, window: int = 8) -> list[str]:
    return [sample["clip_id"] for sample in reader.samples(seed, epoch, window)]


def all_ids() -> list[str]:
    return [clip(number)["clip_id"] for number in range(CLIPS_IN_ALL)]


def check_values(reader: FeatureReader) -> None:
    for sample in reader.samples(seed=0, epoch=0):
        number = int(sample["clip_id"].removeprefix("clip"))
        assert sample["text_id"] == text_id(f"caption {number}")
        assert sample["fps"] == 10.0
        for artifact in BOTH:
            for name, expected in values(artifact, number).items():
                found = sample[f"{artifact}/{name}"]
                assert found.dtype == expected.dtype, name
                np.testing.assert_array_equal(found, expected)


def test_row_groups_tell_where_their_rows_lie(dataset: Folder) -> None:
    groups = FeatureReader(dataset, BOTH).groups
    told = [(group.part, group.number, group.rows, group.first) for group in groups]
    assert told[:5] == [
        ("part-a.parquet", 0, 2, 0),
        ("part-a.parquet", 1, 2, 2),
        ("part-a.parquet", 2, 2, 4),
        ("part-a.parquet", 3, 2, 6),
        ("part-b.parquet", 0, 2, 0),
    ]
    assert told[-1] == ("part-c.parquet", 1, 1, 2)
    assert len(FeatureReader(dataset, BOTH)) == CLIPS_IN_ALL


@pytest.mark.parametrize("window", [1, 3, 8, 100])
def test_every_clip_comes_once(dataset: Folder, window: int) -> None:
    assert sorted(order(FeatureReader(dataset, BOTH), window=window)) == all_ids()


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_values_are_those_that_were_written(tmp_path: Path, compression: str) -> None:
    store = StoreOptions(8, 2, compression)  # type: ignore[arg-type]
    check_values(FeatureReader(write_dataset(Folder(str(tmp_path)), store=store), BOTH))


def test_the_order_is_that_of_seed_and_epoch(dataset: Folder) -> None:
    reader = FeatureReader(dataset, BOTH)
    assert order(reader) == order(reader) == order(FeatureReader(dataset, ("latents",)))
    others = [order(reader, epoch=1), order(reader, seed=1), order(reader, window=3)]
    assert all(other != order(reader) for other in others)
    assert order(reader) != all_ids()
    assert reader.order(0, 0) == reader.order(0, 0)
    assert all(reader.order(*other) != reader.order(0, 0) for other in ((0, 1), (1, 0)))


def test_clips_mix_within_a_window_of_groups_and_no_farther(dataset: Folder) -> None:
    reader = FeatureReader(dataset, BOTH)
    groups = [[sample["clip_id"] for sample in reader.read(group)] for group in reader.order(seed=5, epoch=2)]
    assert order(reader, 5, 2, window=1) != [name for group in groups for name in group]
    found = order(reader, 5, 2, window=3)
    while groups:
        window = [name for group in groups[:3] for name in group]
        groups = groups[3:]
        assert sorted(found[: len(window)]) == sorted(window)
        found = found[len(window) :]
    assert found == []


def test_a_loop_may_end_early(dataset: Folder) -> None:
    samples = FeatureReader(dataset, BOTH).samples(seed=0, epoch=0, window=2)
    assert next(samples)["clip_id"] in all_ids()
    samples.close()  # type: ignore[attr-defined]


def test_a_group_is_read_in_order_and_its_tensors_are_views(dataset: Folder) -> None:
    reader = FeatureReader(dataset, BOTH)
    first, second = reader.read(reader.groups[1])
    assert (first["clip_id"], second["clip_id"]) == ("clip02", "clip03")
    for name in ("latents/mean", "heatmaps/heatmap"):
        assert second[name].ctypes.data - first[name].ctypes.data == first[name].nbytes
        assert not first[name].flags.owndata


def test_views_outlive_the_reader(dataset: Folder) -> None:
    samples = list(FeatureReader(dataset, ("latents",)).samples(seed=0, epoch=0))
    for sample in samples:
        number = int(sample["clip_id"].removeprefix("clip"))
        np.testing.assert_array_equal(sample["latents/mean"], values("latents", number)["mean"])


def test_columns_of_clips_are_read_along(dataset: Folder) -> None:
    reader = FeatureReader(dataset, ("latents",), clip_columns=("caption", "source_frames"))
    sample = reader.read(reader.groups[0])[1]
    assert set(sample) == {"clip_id", "caption", "source_frames", "latents/mean", "latents/score"}
    assert (sample["caption"], sample["source_frames"]) == ("caption 1", 41)


def test_clips_that_lack_an_artifact_are_left_out(tmp_path: Path) -> None:
    """Alone in their group, beside a good clip, and for one artifact or the other."""
    dataset = write_dataset(Folder(str(tmp_path)), {"latents": {1, 18}, "heatmaps": {4, 5}})
    reader = FeatureReader(dataset, BOTH)
    assert sorted(order(reader)) == [name for name in all_ids() if int(name[4:]) not in (1, 4, 5, 18)]
    assert len(reader) == CLIPS_IN_ALL
    assert sorted(order(FeatureReader(dataset, ("heatmaps",)))) == [n for n in all_ids() if int(n[4:]) not in (4, 5)]


def test_a_clip_that_failed_changes_no_other(tmp_path: Path) -> None:
    check_values(FeatureReader(write_dataset(Folder(str(tmp_path)), {"heatmaps": {2, 7}}), BOTH))


def test_parts_that_lack_an_artifact_are_left_out(dataset: Folder, tmp_path: Path) -> None:
    shutil.copytree(dataset.path, tmp_path / "d")
    (tmp_path / "d" / "heatmaps" / "part-b.parquet").unlink()
    some = Folder(str(tmp_path / "d"))
    expected = [f"clip{n:02}" for n in range(CLIPS_IN_ALL) if n not in PARTS["part-b.parquet"]]
    assert sorted(order(FeatureReader(some, BOTH))) == expected
    assert sorted(order(FeatureReader(some, ("latents",)))) == all_ids()


def test_an_artifact_that_is_not_there(dataset: Folder) -> None:
    with pytest.raises(InputError, match="artifact 'depth' is not in the dataset. It has: latents, heatmaps, text"):
        FeatureReader(dataset, ("latents", "depth"))


def test_no_part_that_has_them_all(dataset: Folder, tmp_path: Path) -> None:
    shutil.copytree(dataset.path, tmp_path / "d")
    for part in ("part-a", "part-b"):
        (tmp_path / "d" / "heatmaps" / f"{part}.parquet").unlink()
    (tmp_path / "d" / "latents" / "part-c.parquet").unlink()
    with pytest.raises(InputError, match="no part has all of clips, latents, heatmaps. Is it empty?"):
        FeatureReader(Folder(str(tmp_path / "d")), BOTH)


def test_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a dataset"):
        FeatureReader(Folder(str(tmp_path)), BOTH)


@pytest.mark.parametrize("kept", [1, 64])
def test_states_of_captions(dataset: Folder, kept: int) -> None:
    """Again and in any order, whether or not their row group is still there."""
    reader = TextReader(dataset, kept_groups=kept)
    for number in [*range(CLIPS_IN_ALL), *reversed(range(CLIPS_IN_ALL)), 0, 18, 0]:
        caption = f"caption {number}"
        found = reader.states(text_id(caption))
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, states(caption))


def test_a_caption_that_was_never_encoded(dataset: Folder) -> None:
    with pytest.raises(KeyError):
        TextReader(dataset).states(text_id("never seen"))
    with pytest.raises(InputError, match="artifact 'words' is not in the dataset"):
        TextReader(dataset, "words")


def test_a_dataset_in_a_bucket_reads_as_one_on_disk(dataset: Folder, bucket: str) -> None:
    remote = Folder(f"{bucket}/deep/d")
    for path in dataset.path.rglob("*.*"):
        place = remote / str(path.parent.relative_to(dataset.path)) if path.parent != dataset.path else remote
        place.write(path.name, path.read_bytes())
    check_values(FeatureReader(remote, BOTH))
    assert order(FeatureReader(remote, BOTH)) == order(FeatureReader(dataset, BOTH))
    np.testing.assert_array_equal(TextReader(remote).states(text_id("caption 9")), states("caption 9"))
    with pytest.raises(InputError, match="artifact 'depth' is not in the dataset"):
        FeatureReader(remote, ("depth",))


@pytest.mark.parametrize("groups", [1, 3, 4, 8])
def test_artifacts_whose_row_groups_are_cut_otherwise_still_stand_beside_each_other(
    tmp_path: Path, groups: int
) -> None:
    """An artifact that was added later may come from a run with other row groups."""
    made = write_dataset(Folder(str(tmp_path / "d")))
    for part in PARTS:
        write_artifact(made, "heatmaps", part, set(), StoreOptions(groups, groups))
    for artifacts in (BOTH, BOTH[::-1]):
        reader = FeatureReader(made, artifacts)
        assert sorted(order(reader)) == all_ids()
        check_values(reader)
