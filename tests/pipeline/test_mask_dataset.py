"""A dataset with heatmaps of the flow and masks beside them: how it is made, read, shown and trained on."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from base.errors import InputError, WeightsError
from base.storage.folder import Folder
from base.weights import Weights
from dataset.catalog import FILE, Catalog
from dataset.heatmap.normalisation import CONVENTIONS, Normalisation
from dataset.view import View
from pipeline.curation.calibrate import calibrate
from pipeline.featurizers.mask_heatmaps import MaskHeatmaps
from pipeline.motion.flow import Dis
from pipeline.motion.masks import MovingRegions
from pipeline.motion.sam import Sam
from pipeline.recipes import Preprocess
from pipeline.report.page import ReportOptions, write_report
from tests.pipeline.conftest import SMALL, Preprocessing, part_bytes
from training.data.artifacts import Artifacts
from training.data.order import Place
from training.data.source import Source

MASKS = MaskHeatmaps(flow=Dis(), masks=MovingRegions(), cell=16)


def with_masks(feature: MaskHeatmaps = MASKS) -> Preprocess:
    return replace(SMALL, features=SMALL.features | {"heatmaps": feature})


@pytest.fixture(scope="module")
def dataset(
    preprocess: Preprocessing, sprites_dataset: Path, sprites_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = Path(shutil.copytree(sprites_dataset, tmp_path_factory.mktemp("masks") / "d"))
    assert preprocess(sprites_folder / "manifest.csv", folder, with_masks()).complete
    return folder


@pytest.fixture(scope="module")
def name(dataset: Path) -> str:
    """The folder of the masks."""
    return Catalog.require(Folder(str(dataset))).pick("heatmaps", "masks")


def heatmaps(dataset: Path, name: str) -> dict[str, np.ndarray]:
    table = pq.read_table(dataset / name)
    grid = Catalog.require(Folder(str(dataset))).artifacts[name].columns["heatmap"]["shape"]
    values = [np.frombuffer(cell.as_py(), np.uint8).reshape(grid) / 255 for cell in table["heatmap"]]
    return dict(zip(table["clip_id"].to_pylist(), values, strict=True))


def test_masks_are_added_and_nothing_is_computed_again(
    preprocess: Preprocessing, dataset: Path, name: str, sprites_dataset: Path, sprites_folder: Path
) -> None:
    before, after = part_bytes(sprites_dataset), part_bytes(dataset)
    assert {path for path in after if path not in before} == {f"{name}/{Path(p).name}" for p in _parts(before)}
    assert all(after[path] == values for path, values in before.items())
    for recipe in (with_masks(), SMALL):
        assert preprocess(sprites_folder / "manifest.csv", dataset, recipe).planned == 0
    assert part_bytes(dataset) == after


def _parts(paths: dict[str, bytes]) -> list[str]:
    return [path for path in paths if path.startswith("clips/")]


def test_training_reads_them_by_their_alias(dataset: Path, name: str) -> None:
    for wanted, folder in (("masks", name), (name, name), ("heatmaps", "heatmaps")):
        source = Source(str(dataset), Artifacts(heatmaps=wanted))
        stored = heatmaps(dataset, folder)
        for group, rows in enumerate(source.rows):
            for row in rows:
                sample = source.read(Place(group, int(row)))
                np.testing.assert_allclose(sample["heatmap"], stored[sample["clip_id"]], atol=1e-6)
    with pytest.raises(InputError, match="holds 2 heatmaps .*give the one to use"):
        Source(str(dataset), Artifacts())
    with pytest.raises(InputError, match=r"--artifacts.normalisation: heatmaps-\w+ in .* holds no intensity"):
        Source(str(dataset), Artifacts(heatmaps="masks", normalisation=Normalisation()))


def test_a_view_names_and_filters_them(dataset: Path, name: str) -> None:
    moving = View(str(dataset), ("masks",), ("prompts>=1", "moving_share>=0.01")).clips()
    lit = {clip for clip, values in heatmaps(dataset, name).items() if values.mean() >= 0.01}
    assert set(moving.column("clip_id").to_pylist()) == lit
    assert 0 < len(lit) <= 16


def test_the_alias_outlives_a_lost_catalog(
    preprocess: Preprocessing, dataset: Path, name: str, sprites_folder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(dataset, tmp_path / "d"))
    (copy / FILE).unlink()
    assert preprocess(sprites_folder / "manifest.csv", copy, SMALL).planned == 0
    assert Catalog.require(Folder(str(copy))).pick("heatmaps", "masks") == name


def test_an_alias_must_be_of_one_artifact(dataset: Path, name: str) -> None:
    catalog = Catalog.require(Folder(str(dataset)))
    twice = replace(catalog, artifacts=catalog.artifacts | {"heatmaps-other": catalog.artifacts[name]})
    with pytest.raises(InputError, match=f"holds 2 masks \\({name}, heatmaps-other\\): give the one to use"):
        twice.pick("heatmaps", "masks")


def test_calibrate_shows_both(dataset: Path, name: str, sprites_dataset: Path) -> None:
    found = calibrate(Folder(str(dataset)))
    assert found.cameras == calibrate(Folder(str(sprites_dataset))).cameras
    assert found.clips == 16
    stored = np.stack(list(heatmaps(dataset, name).values()))
    (effect,) = [found.stored[name]]
    assert effect.lit == pytest.approx((stored > 0.5).mean(), abs=1e-4)
    assert effect.weight == pytest.approx((stored**2).mean(), abs=1e-4)
    assert effect.dark_clips == pytest.approx((stored <= 0.5).all(axis=(1, 2, 3)).mean(), abs=1e-4)
    alone = calibrate(Folder(str(dataset)), "masks", limit=5)
    assert (alone.clips, alone.cameras, list(alone.stored)) == (5, {}, [name])
    flow = calibrate(Folder(str(dataset)), "heatmaps")
    assert (list(flow.effects), flow.stored) == (list(CONVENTIONS), {})
    with pytest.raises(InputError, match="latents holds no heatmaps"):
        calibrate(Folder(str(dataset)), "latents")


def test_inspect_shows_both_side_by_side(dataset: Path, name: str, tmp_path: Path) -> None:
    for wanted, each in ((None, 3), ("masks", 2), ("heatmaps", 2)):
        write_report(Folder(str(dataset)), tmp_path / "page.html", ReportOptions(num=4, heatmaps=wanted))
        text = (tmp_path / "page.html").read_text()
        assert text.count("<video") == 4 * each
        assert (f'title="{name}"' in text) == (wanted is None)
        assert ('class="clip wide"' in text) == (wanted is None)


def test_missing_weights_are_said_before_work_starts(
    preprocess: Preprocessing, dataset: Path, sprites_folder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(dataset, tmp_path / "d"))
    before = part_bytes(copy)
    recipe = with_masks(replace(MASKS, masks=Sam(Weights("nowhere/at/all"))))
    with pytest.raises(WeightsError, match="SAM 2: weights 'nowhere/at/all' are neither a file"):
        preprocess(sprites_folder / "manifest.csv", copy, recipe)
    assert part_bytes(copy) == before
