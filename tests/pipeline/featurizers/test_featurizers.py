from pathlib import Path

import numpy as np
import pytest
import torch

from base.weights import Weights
from dataset.heatmap.heatmap import stored_heatmap
from dataset.heatmap.normalisation import Normalisation
from models.encoders.autoencoder import Autoencoder
from models.encoders.clip_text import ClipText
from pipeline.featurizers.base import ClipBatch, ClipFeature
from pipeline.featurizers.heatmaps import Heatmaps
from pipeline.featurizers.latents import PixelLatents, VaeLatents
from pipeline.featurizers.text import ClipTextStates, HashedTextStates
from pipeline.motion.flow import Dis
from pipeline.sprites.files import draw_clips
from pipeline.sprites.render import render
from pipeline.sprites.world import World
from pipeline.video.geometry import ClipShape

CPU = torch.device("cpu")
SHAPE = ClipShape(frames=4, height=128, width=128)


@pytest.fixture(scope="module")
def batch() -> ClipBatch:
    """Three clips; of the last the video has no frame after the fourth."""
    world = World(128, 128, 5)
    frames = np.stack([render(world, clip.scene, clip.motion)[0] for clip in draw_clips(world, 3, seed=1)])
    frames[2, 4] = frames[2, 3]
    return ClipBatch(frames, np.array([True, True, False]))


def features(tiny_vae: Path) -> list[ClipFeature]:
    return [
        Heatmaps(flow=Dis(), both_ways=True, cell=16),
        Heatmaps(flow=Dis(), cell=8, dtype="float16"),
        PixelLatents(),
        VaeLatents(Weights(str(tiny_vae), subfolder="vae"), precision="float32"),
    ]


@pytest.mark.parametrize("number", range(4))
def test_what_is_promised_is_computed_and_no_clip_depends_on_another(
    number: int, batch: ClipBatch, tiny_vae: Path
) -> None:
    feature = features(tiny_vae)[number]
    feature.check(SHAPE)
    function = feature.load(SHAPE, CPU)
    together = function(batch)
    assert set(together) == {column.name for column in feature.columns(SHAPE)}
    for column in feature.columns(SHAPE):
        assert together[column.name].shape == (3, *column.shape), column
        assert together[column.name].dtype == np.dtype(column.dtype), column
    for row in range(3):
        alone = function(ClipBatch(batch.frames[row : row + 1], batch.has_next[row : row + 1]))
        for name, values in alone.items():
            assert values[0].tobytes() == together[name][row].tobytes(), name


def test_heatmap_values(batch: ClipBatch) -> None:
    values = Heatmaps(flow=Dis(), both_ways=True, cell=16).load(SHAPE, CPU)(batch)
    assert values["heatmap"].max() > 200  # something moves
    assert np.median(values["heatmap"]) < 10  # and most does not
    np.testing.assert_array_equal(values["heatmap"][2, 3], values["heatmap"][2, 2])  # no next frame: held
    assert (values["moving_share"] < 0.2).all()
    assert (values["mean_ssim"] > 0.5).all()


def test_another_normalisation_from_stored_intensity(batch: ClipBatch) -> None:
    """The mean is taken before the sigmoid instead of after it; on the grid the two are close."""
    other = Normalisation("short_side", 0.1)
    exact = Heatmaps(flow=Dis(), cell=8, normalisation=other, dtype="float16").load(SHAPE, CPU)(batch)["heatmap"]
    stored = Heatmaps(flow=Dis(), cell=8).load(SHAPE, CPU)(batch)
    again = stored_heatmap(other, stored["intensity"], stored["intensity_max"], SHAPE.height, SHAPE.width)
    assert np.abs(again.numpy() - exact.astype(np.float32)).mean() < 0.02


def test_the_vae_posterior_is_that_of_each_frame(batch: ClipBatch, tiny_vae: Path) -> None:
    weights = Weights(str(tiny_vae), subfolder="vae")
    values = VaeLatents(weights, precision="float32").load(SHAPE, CPU)(batch)
    frame = torch.from_numpy(batch.frames[1, 2]).permute(2, 0, 1)[None].float() / 127.5 - 1
    mean, logvar = Autoencoder.load(weights, CPU).posterior(frame)
    np.testing.assert_allclose(values["mean"][1, :, 2], mean[0].half().numpy(), atol=2e-3)
    np.testing.assert_allclose(values["logvar"][1, :, 2], logvar[0].half().numpy(), atol=2e-2)


def test_facts_carry_the_scaling_factor(tiny_vae: Path) -> None:
    assert VaeLatents(Weights(str(tiny_vae), subfolder="vae")).facts()["scaling_factor"] == 0.18215
    assert PixelLatents().facts()["scaling_factor"] == 1.0


def test_sizes_that_do_not_fit(tiny_vae: Path) -> None:
    odd = ClipShape(4, 100, 128)
    with pytest.raises(ValueError, match="cell 16: must divide"):
        Heatmaps(cell=16).check(odd)
    with pytest.raises(ValueError, match="multiples of its cell, 16"):
        PixelLatents().check(odd)
    with pytest.raises(ValueError, match="multiples of 8"):
        VaeLatents(Weights(str(tiny_vae), subfolder="vae")).check(odd)


def test_identity_changes_with_what_changes_values(tiny_vae: Path) -> None:
    base = Heatmaps(flow=Dis())
    others = [
        Heatmaps(flow=Dis(), both_ways=True),
        Heatmaps(flow=Dis("fast")),
        Heatmaps(flow=Dis(), cell=16),
        Heatmaps(flow=Dis(), normalisation=Normalisation("width")),
    ]
    assert all(other.identity() != base.identity() for other in others)
    here, there = (Weights(str(place), subfolder="vae") for place in (tiny_vae, tiny_vae / ".." / tiny_vae.name))
    assert VaeLatents(here).identity() == VaeLatents(there).identity()


def test_text_states(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tower = ClipText("ViT-S-32-alt").eval()
    torch.save(tower.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    feature = ClipTextStates(Weights(str(tmp_path)), "ViT-S-32-alt", width=256, precision="float32")
    captions = [f"sprite {i}" for i in range(40)] + [""]
    together = feature.load(CPU)(captions)["states"]
    assert together.shape == (41, *feature.columns(SHAPE)[0].shape)
    alone = feature.load(CPU)(captions[35:36])["states"]
    assert alone[0].tobytes() == together[35].tobytes()
    assert feature.identity()["weights_tensors"].startswith("blake3:")
    assert np.abs(together[40].astype(np.float32)).max() > 0  # the empty prompt has states too


def test_hashed_text_states() -> None:
    states = HashedTextStates().load(CPU)(["the red circle", ""])["states"]
    assert states.shape == (2, *HashedTextStates().columns(SHAPE)[0].shape)
    assert states.dtype == np.float16


def test_a_camera_is_subtracted_and_what_was_before_is_kept() -> None:
    """A picture that pans by six pixels, with a square before it that moves by itself."""
    rng = np.random.default_rng(0)
    scene = np.kron(rng.integers(0, 256, (40, 60, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    thing = np.kron(rng.integers(0, 256, (8, 8, 3), np.uint8), np.ones((4, 4, 1), np.uint8))
    frames = np.stack([scene[40:168, 6 * t : 6 * t + 128] for t in range(5)])
    for t in range(5):
        frames[t, 48:80, 30 + 4 * t : 62 + 4 * t] = thing
    batch = ClipBatch(frames[None], np.array([True]))
    none = Heatmaps(flow=Dis()).load(SHAPE, CPU)(batch)
    found = Heatmaps(flow=Dis(), camera="homography").load(SHAPE, CPU)(batch)
    columns = {column.name for column in Heatmaps(flow=Dis(), camera="homography").columns(SHAPE)}
    assert found.keys() == columns
    assert found["pairs_without_camera"].tolist() == [0]
    assert found["camera_motion"][0] == pytest.approx(6, abs=0.1)
    for name in ("intensity", "intensity_max"):
        np.testing.assert_array_equal(found[name.replace("intensity", "intensity_with_camera")], none[name])
    assert found["moving_share_with_camera"] == none["moving_share"] > 0.8
    assert found["moving_share"][0] < 0.2
    both = Heatmaps(flow=Dis(), camera="homography", both_ways=True).load(SHAPE, CPU)(batch)
    assert both["moving_share"][0] < 0.15
    inside = both["intensity"][0, 1][7:9, 5:8]  # cells that the square covers in the second frame
    assert (abs(inside - 10) < 2).all()  # its own four pixels to the right, and the picture's six to the left


def test_a_still_camera_changes_no_heatmap(batch: ClipBatch) -> None:
    """The world of the sprites stands still: the same heatmaps but for rounding."""
    none = Heatmaps(flow=Dis(), cell=16).load(SHAPE, CPU)(batch)["heatmap"].astype(int)
    found = Heatmaps(flow=Dis(), cell=16, camera="homography").load(SHAPE, CPU)(batch)["heatmap"].astype(int)
    assert np.abs(found - none).mean() < 1
