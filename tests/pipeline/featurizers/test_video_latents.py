"""Latents that compress time and unpadded text, as they are stored: Wan's, and the toy size's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from base.config import dump, load
from base.errors import InputError
from base.storage.folder import Folder
from base.weights import Weights
from dataset.heatmap.heatmap import latent_heatmap, sigmoid_heatmap
from dataset.heatmap.intensity import pool, pool_max
from dataset.heatmap.normalisation import Normalisation
from models.encoders.registry import open_latent_space
from models.encoders.umt5 import TOKENS
from pipeline.featurizers.base import ClipBatch, ClipFeature
from pipeline.featurizers.heatmaps import Heatmaps
from pipeline.featurizers.umt5_text import Umt5States
from pipeline.featurizers.video_latents import VideoPixelLatents, WanLatents
from pipeline.planning.artifacts import choose_targets
from pipeline.recipes import Preprocess, wan_sprites, wan_ti2v_5b
from pipeline.sprites.motions import move
from pipeline.sprites.render import render
from pipeline.sprites.world import World, draw_scene
from pipeline.video.geometry import ClipShape
from pipeline.video.sampling import Sampling
from tests.models.wan.tiny import TEXT_WIDTH, autoencoder, write_encoders

CPU = torch.device("cpu")
SHAPE = ClipShape(9, 64, 96)
FRAMES = np.random.default_rng(0).integers(0, 256, (3, 10, 64, 96, 3), np.uint8)
BATCH = ClipBatch(FRAMES, np.array([True, True, False]))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoders(tmp_path_factory.mktemp("wan"))


def feature(kind: str, base: Path) -> ClipFeature:
    return VideoPixelLatents() if kind == "pixels" else WanLatents().resolved(str(base))


@pytest.mark.parametrize("kind", ["pixels", "wan"])
def test_what_is_promised_is_computed_and_no_clip_depends_on_another(kind: str, base: Path) -> None:
    latents = feature(kind, base)
    latents.check(SHAPE)
    function = latents.load(SHAPE, CPU)
    together = function(BATCH)["mean"]
    (column,) = latents.columns(SHAPE)
    assert together.shape == (3, *column.shape)
    assert column.shape[1:] == (3, 4, 6)
    assert together.dtype == np.float16
    for row in range(3):
        alone = function(ClipBatch(FRAMES[row : row + 1], BATCH.has_next[row : row + 1]))["mean"]
        assert alone[0].tobytes() == together[row].tobytes()
    assert latents.facts()["stride"] == 4
    assert latents.facts()["scaling_factor"] == 1.0


def test_stored_latents_are_diffusers_normalised(base: Path) -> None:
    """Float16 of what diffusers encodes in float32; the frame that is only for the flow has no part in it."""
    stored = feature("wan", base).load(SHAPE, CPU)(BATCH)["mean"]
    plain = autoencoder(16).eval()
    mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (plain.config.latents_mean, plain.config.latents_std))
    video = torch.from_numpy(FRAMES[:, :9]).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
    with torch.no_grad():
        expected = (plain.encode(video).latent_dist.mode() - mean) / std
    np.testing.assert_allclose(stored.astype(np.float32), expected.half().float(), rtol=0, atol=2e-3)
    assert expected.std() > 0.01


@pytest.mark.parametrize("kind", ["pixels", "wan"])
def test_a_model_is_given_the_latent_that_is_stored(kind: str, base: Path) -> None:
    """Latent 0 of a clip is what sampling encodes of its first frame, and stored latents decode to its frames."""
    latents = feature(kind, base)
    stored = torch.from_numpy(latents.load(SHAPE, CPU)(BATCH)["mean"])
    space = open_latent_space(latents.identity(), 1.0, Weights.of(latents.facts()), CPU)
    first = torch.from_numpy(FRAMES[:, 0]).permute(0, 3, 1, 2).float() / 127.5 - 1
    torch.testing.assert_close(space.encode(first), stored[:, :, 0].float(), rtol=0, atol=2e-3)
    assert space.decode(stored).shape == (3 * 9, 3, 64, 96)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sampling": Sampling(frames=16)}, "frames 16: must be a multiple of 4 plus 1, .* Use 13 or 17."),
        ({"width": 520}, "frames of 256 x 520 pixels: both sides must be multiples of 16. Use 256 x 512."),
    ],
)
def test_clips_that_do_not_fit_are_refused_before_anything_is_computed(
    changes: dict[str, object], said: str, tmp_path: Path
) -> None:
    latents = {"latents": VideoPixelLatents()}
    with pytest.raises(InputError, match=said):
        choose_targets(replace(wan_sprites(), features=latents, **changes), Folder(str(tmp_path)))


def test_wans_sides_are_whole_patches(base: Path) -> None:
    latents = feature("wan", base)
    with pytest.raises(InputError, match=r"80 x 96 pixels: both sides must be multiples of 32. Use 64 x 96"):
        latents.check(ClipShape(9, 80, 96))
    with pytest.raises(InputError, match="frames 10: must be a multiple of 4 plus 1"):
        latents.check(ClipShape(10, 64, 96))


def shares(speed: float, fps: float, stride: int) -> tuple[float, float]:
    """Of sprites that move at a speed in pixels a second: the share of cells above 0.5 by the motion of whole latents,
    and by the mean of each frame's heatmap. By the exact flow, of 256 x 256 pixels, in cells of 16 x 16.
    """
    world, lit = World(256, 256, 8 * stride + 1), []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        scene = draw_scene(world, rng)
        flow = render(world, scene, move(scene, world.frames, rng, speed=speed / fps / 256))[1]
        lengths = torch.from_numpy(np.linalg.norm(flow, axis=-1))[None]
        lengths = torch.cat([lengths, lengths[:, -1:]], dim=1)
        mean, greatest = (pooled(lengths, 16).numpy() for pooled in (pool, pool_max))
        found = latent_heatmap(Normalisation(), mean, greatest, (256, 256), stride, np.array([fps]))[:, 1:]
        each = pool(sigmoid_heatmap(Normalisation(), lengths, 256, 256), 16)[:, 1:]
        averaged = each.unflatten(1, (-1, stride)).mean(dim=2)
        lit.append([float((maps > 0.5).float().mean()) for maps in (found, averaged)])
    return tuple(np.mean(lit, axis=0).tolist())  # type: ignore[return-value]


@pytest.mark.parametrize("speed", [40.0, 72.0])
def test_the_heatmap_of_a_latent_is_that_of_the_same_motion_at_8_frames_a_second(speed: float) -> None:
    """Which the mean of the heatmaps of its frames is not: at 24 a second they go dark."""
    reference = shares(speed, 8.0, 1)[0]
    found, averaged = shares(speed, 24.0, 4)
    assert 0.02 < reference < 0.04
    assert 0.8 * reference < found < 1.4 * reference
    assert averaged < 0.7 * found
    if speed == 40.0:
        assert averaged == 0


def test_text_is_stored_without_padding(base: Path) -> None:
    text = Umt5States(precision="float32").resolved(str(base))
    (column,) = text.columns(SHAPE)
    assert column.shape == (TOKENS, TEXT_WIDTH)
    states = text.load(CPU)(["", "star moves left", "star"])["states"]
    assert [len(one) for one in states] == [1, 4, 2]
    array = column.to_arrow(states)
    assert array.nbytes < TOKENS * TEXT_WIDTH  # and not three times twice as much
    assert [one.tobytes() for one in column.to_arrays(array)] == [one.tobytes() for one in states]


def test_wans_recipe_fits_its_own_encoders() -> None:
    """Sizes and costs are known without weights."""
    recipe = wan_ti2v_5b()
    for one in recipe.features.values():
        one.check(recipe.shape)
    columns = {column.name: column.shape for one in recipe.features.values() for column in one.columns(recipe.shape)}
    assert columns["mean"] == (48, 13, 30, 52)
    assert columns["states"] == (512, 4096)
    assert columns["heatmap"] == (49, 30, 52)
    assert load(dump(recipe)) == recipe


def test_the_encoders_come_from_the_base_model(base: Path) -> None:
    made = replace(wan_ti2v_5b(), base_model=str(base), features={"latents": WanLatents(), "text": Umt5States()})
    resolved = made.resolved()
    assert [one.facts()["subfolder"] for one in resolved.features.values()] == ["vae", "text_encoder"]
    assert isinstance(made, Preprocess)
    assert isinstance(wan_sprites().features["heatmaps"], Heatmaps)
