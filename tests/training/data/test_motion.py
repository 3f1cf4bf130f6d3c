"""Motion levels: tenths of the clips by how still they are, however many datasets there are."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from base.errors import InputError
from base.storage.folder import Folder
from dataset.catalog import Artifact, Catalog
from dataset.view import View
from tests.training.datasets import Toy, write_toy
from training.data.artifacts import Artifacts
from training.data.motion import find_bounds, level_of
from training.data.order import Place
from training.data.source import Source


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Clips 0 to 19, each less still than the one before."""
    return write_toy(Folder(str(tmp_path_factory.mktemp("motion") / "data")), Toy(clips=20, ssim=True))


@pytest.mark.parametrize("clips", [10, 250, 1000])
def test_each_level_has_a_tenth_of_the_clips(clips: int) -> None:
    """By rank, the stillest first."""
    ssim = np.random.default_rng(clips).permutation(np.linspace(0.2, 1, clips)).astype(np.float32)
    bounds = find_bounds([ssim], [1.0])
    rank = np.argsort(np.argsort(-ssim))
    assert [level_of(float(value), bounds) for value in ssim] == [1 + 10 * int(place) // clips for place in rank]
    assert level_of(-1, bounds) == 10
    assert level_of(1, bounds) == 1


def test_equally_still_clips_have_one_level() -> None:
    """Of which still ones have the first, even if they are most clips."""
    bounds = find_bounds([np.array([1.0] * 45 + [0.9] * 30 + [0.5] * 25)], [1.0])
    assert [level_of(value, bounds) for value in (1.0, 0.9, 0.5)] == [1, 5, 8]
    assert {level_of(1.0, find_bounds([np.ones(7)], [1.0]))} == {1}


def test_clips_count_as_often_as_they_are_seen() -> None:
    """A dataset of a tenth as many clips and half the weight: each of its clips is seen five times as often."""
    rng = np.random.default_rng(0)
    many, few = rng.random(400), rng.random(40)
    expected = find_bounds([np.concatenate([many, np.repeat(few, 5)])], [1.0])
    assert find_bounds([many, few], [1.0, 0.5]) == expected
    assert find_bounds([few, many], [0.5, 1.0]) == expected
    assert find_bounds([many, few], [1.0, 1.0]) != expected


def read_levels(source: Source) -> list[int]:
    bounds = find_bounds([source.ssim], [1.0])
    places = [Place(group, int(row)) for group, rows in enumerate(source.rows) for row in rows]
    return [level_of(source.read(place)["ssim"], bounds) for place in places]


def test_a_datasets_clips_have_levels(dataset: Folder) -> None:
    assert read_levels(Source(dataset.uri, Artifacts(), motion=True)) == [1 + number // 2 for number in range(20)]
    plain = Source(dataset.uri, Artifacts())
    assert "ssim" not in plain.read(Place(0, 0))
    assert plain.ssim.size == 0


def test_clips_that_a_view_leaves_out_do_not_count(dataset: Folder, tmp_path: Path) -> None:
    ids = tuple(f"clip{number:04}" for number in range(10, 20))
    View(dataset.uri, ("latents", "heatmaps"), ids=ids).save(Folder(str(tmp_path)), "half.json")
    assert read_levels(Source(str(tmp_path / "half.json"), Artifacts(), motion=True)) == list(range(1, 11))


def test_heatmaps_without_ssim_take_it_from_others(tmp_path: Path) -> None:
    """As masks do, beside the heatmaps of a flow; a clip that lacks one of them is left out."""
    data = write_toy(Folder(str(tmp_path / "data")), Toy(clips=20, ssim=True, failed={"heatmaps": {4}}))
    other = write_toy(Folder(str(tmp_path / "other")), Toy(clips=20))
    for part in (other / "heatmaps").files():
        (data / "masks").write(part.name, (other / "heatmaps").read(part.name))
    catalog, masks = Catalog.require(data), Catalog.require(other).artifacts["heatmaps"]
    catalog.artifacts["masks"] = Artifact("heatmaps", {"method": "masks"}, {}, masks.columns)
    catalog.write(data)
    source = Source(data.uri, Artifacts(heatmaps="masks"), motion=True)
    assert source.names["motion"] == "heatmaps"
    assert len(source) == len(source.ssim) == 19
    assert source.digest() != Source(data.uri, Artifacts(heatmaps="masks")).digest()
    told = source.lack()
    assert told is not None
    assert "1 lack heatmaps" in told
    read = pq.read_table(data.path / "heatmaps" / "part-0000.parquet")["mean_ssim"].to_pylist()
    assert source.read(Place(0, 3))["ssim"] == read[3]


def test_a_dataset_without_ssim_is_refused(toy_dataset: Folder) -> None:
    with pytest.raises(InputError, match=r"^.*: nothing in it holds mean_ssim, of which motion levels are made\. Add"):
        Source(toy_dataset.uri, Artifacts(), motion=True)
