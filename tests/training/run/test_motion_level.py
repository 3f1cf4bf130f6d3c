"""Runs with a motion level: its bounds are the run's own, and it starts as the model that it is added to."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from base.errors import InputError
from base.storage.folder import Folder
from models.adapters.lora import Lora
from models.folder import load_facts, load_network
from models.video_model import VideoModel
from models.videocrafter2.backbone import VideoCrafter2
from tests.training.datasets import Toy, write_toy
from tests.training.runs import SMALL, losses, same, toy_job, train_here, weights
from training.data.motion import find_bounds, level_of
from training.loop.parallel import World
from training.network import build_network
from training.options import Samples
from training.recipes import RECIPES
from training.run.dry_run import estimate_lines
from training.run.job import open_sources
from training.run.worker import Worker
from training.validation.options import Options
from training.validation.validate import ValidationJob, validate

LEVEL = replace(SMALL, motion_level=True)
OFTEN = Samples(every=2, num=2, steps=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Twelve clips with their SSIM; not to be written to."""
    return write_toy(Folder(str(tmp_path_factory.mktemp("ssim") / "data")), Toy(logvar=True, ssim=True))


@pytest.fixture(scope="module")
def run(data: Folder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps; not to be written to."""
    folder = tmp_path_factory.mktemp("level") / "run"
    train_here(toy_job(data, folder, network=LEVEL, samples=OFTEN))
    return folder


@pytest.fixture(scope="module")
def pictures(data: Folder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without levels."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    train_here(toy_job(data, folder, samples=OFTEN))
    return folder


def model_of(run: Path, step: int = 4) -> Path:
    return run / "checkpoints" / f"step-{step:08}" / "model"


def bounds_of(job_data: Folder, out: Path) -> tuple[float, ...]:
    (source,) = open_sources(toy_job(job_data, out, network=LEVEL))
    return find_bounds([source.ssim], [1.0])


def test_the_bounds_are_in_the_card_and_the_run(data: Folder, run: Path, tmp_path: Path) -> None:
    bounds = bounds_of(data, tmp_path)
    assert len(bounds) == 9
    assert sorted(bounds, reverse=True) == list(bounds)
    facts = load_facts(model_of(run))
    assert facts.motion_bounds == bounds
    assert facts.default_motion_level == 5
    assert json.loads((run / "config.json").read_text())["motion_bounds"] == list(bounds)
    network = load_network(model_of(run))
    assert network.conditions == ("text", "fps", "image_latent", "motion_level")
    assert network.conv_in.weight[:, 8:].any()


def test_each_clip_of_a_batch_has_its_level(data: Folder, tmp_path: Path) -> None:
    worker = Worker(toy_job(data, tmp_path, network=LEVEL), World(torch.device("cpu")), lambda line: None)
    bounds = bounds_of(data, tmp_path)
    with worker.batches() as steps:
        batch = next(steps).micro_batches[0]
    ssim = [float(torch.tensor(1 - int(clip.removeprefix("clip")) / 1000)) for clip in batch.clip_ids]
    assert batch.motion_level is not None
    assert batch.motion_level.tolist() == [level_of(value, bounds) for value in ssim]
    assert len(set(batch.motion_level.tolist())) > 1


def test_a_run_that_stopped_goes_on_as_if_it_had_not(data: Folder, tmp_path: Path, run: Path) -> None:
    train_here(toy_job(data, tmp_path / "cut", network=LEVEL, steps=2, samples=OFTEN))
    train_here(toy_job(data, tmp_path / "cut", network=LEVEL, samples=OFTEN))
    assert losses(tmp_path / "cut") == losses(run)
    assert same(weights(tmp_path / "cut"), weights(run))
    assert load_facts(model_of(tmp_path / "cut")) == load_facts(model_of(run))


def test_a_run_keeps_the_bounds_that_it_began_with(data: Folder, tmp_path: Path) -> None:
    """They are read, not computed again: another way to compute them would change what a level means."""
    train_here(toy_job(data, tmp_path, network=LEVEL, steps=2))
    config = json.loads((tmp_path / "config.json").read_text())
    config["motion_bounds"] = begun = [0.9 - number / 100 for number in range(9)]
    (tmp_path / "config.json").write_text(json.dumps(config))
    worker = train_here(toy_job(data, tmp_path, network=LEVEL))
    assert list(load_facts(model_of(tmp_path)).motion_bounds) == begun
    assert list(worker.bounds) == begun
    assert json.loads((tmp_path / "config.json").read_text())["motion_bounds"] == begun


def test_before_its_first_checkpoint_a_run_may_get_other_data(data: Folder, tmp_path: Path) -> None:
    other = write_toy(Folder(str(tmp_path / "other")), Toy(logvar=True, ssim=True, first=40))
    out = tmp_path / "run"
    train_here(toy_job(data, out, network=LEVEL, steps=1))
    for step in (out / "checkpoints").iterdir():
        (step / "progress.json").unlink()
    train_here(toy_job(other, out, network=LEVEL, steps=1))
    found = load_facts(model_of(out, 1)).motion_bounds
    assert found == bounds_of(other, tmp_path)
    assert found != bounds_of(data, tmp_path)


@torch.no_grad()
def test_it_starts_as_the_model_that_it_is_added_to(data: Folder, tmp_path: Path, pictures: Path) -> None:
    """Bit for bit: the prediction at any level, and the videos that the new run samples before its first step."""
    network = replace(LEVEL, start=str(model_of(pictures)))
    facts = open_sources(toy_job(data, tmp_path, network=network))[0].facts
    grown, base = build_network(network, facts, seed=1).eval(), load_network(model_of(pictures))
    given = inputs(base)
    expected = base(**given)
    for level in (1.0, 5.0, 10.0):
        assert torch.equal(grown(**given, motion_level=torch.tensor([level, 11 - level])), expected)
    with torch.enable_grad():
        train_here(toy_job(data, tmp_path / "run", network=network, steps=2, samples=OFTEN))
    for name in ("00.mp4", "01.mp4"):
        before, after = (tmp_path / "run" / "samples" / f"step-{step:08}" / name for step in (0, 2))
        assert before.read_bytes() == (pictures / "samples" / "step-00000004" / name).read_bytes()
        assert after.read_bytes() != before.read_bytes()
    assert load_network(model_of(tmp_path / "run", 2)).conv_in.weight[:, 8:].any()  # it has begun to look at the level


def inputs(network: VideoModel) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(3)
    shapes = {"sample": (2, 4, 4, 8, 8), "text": (2, 6, 16), "image_latent": (2, 4, 8, 8)}
    assert set(network.conditions) == {"text", "fps", "image_latent"}
    given = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    return given | {"timestep": torch.tensor([17, 801]), "fps": torch.tensor([8.0, 9.0])}


def test_an_adapter_has_the_level_beside_its_low_ranks(data: Folder, tmp_path: Path, pictures: Path) -> None:
    network = replace(LEVEL, start=str(model_of(pictures)))
    train_here(toy_job(data, tmp_path, network=network, adapter=Lora(rank=2), steps=2))
    trained, base = load_network(model_of(tmp_path, 2)), load_network(model_of(pictures))
    assert trained.conditions[-1] == "motion_level"
    assert trained.conv_in.weight[:, 8:].any()
    assert torch.equal(trained.conv_out.weight, base.conv_out.weight)
    assert load_facts(model_of(tmp_path, 2)).default_motion_level == 5


def test_what_a_level_was_left_out_of_stays_as_it_was(pictures: Path) -> None:
    """Neither the run nor its model mention it, so their files are those of earlier versions."""
    model = model_of(pictures)
    for file in (pictures / "config.json", model / "motif.json", model / "unet" / "config.json"):
        assert "motion_" not in file.read_text()
    assert load_facts(model).default_motion_level is None


def test_models_with_and_without_levels_are_not_mixed_up(
    data: Folder, toy_dataset: Folder, tmp_path: Path, run: Path, pictures: Path
) -> None:
    with pytest.raises(InputError, match=r"^network\.motion_level False: the model in .* trained with motion levels\."):
        train_here(toy_job(data, tmp_path / "a", network=replace(SMALL, start=str(model_of(run)))))
    with pytest.raises(InputError, match="nothing in it holds mean_ssim, of which motion levels are made"):
        train_here(toy_job(toy_dataset, tmp_path / "b", network=LEVEL))
    with pytest.raises(InputError, match=r"holds a run with network\.motion_level None, not True"):
        train_here(toy_job(data, pictures, network=LEVEL, samples=OFTEN, steps=6))
    with pytest.raises(InputError, match=r"holds a run with network\.motion_level True, not None"):
        train_here(toy_job(data, run, samples=OFTEN, steps=6))


def test_validation_gives_clips_the_levels_of_each_model(
    data: Folder, tmp_path: Path, run: Path, pictures: Path
) -> None:
    """Held-out clips may all be of one level of a model; another model cuts elsewhere."""
    held = write_toy(Folder(str(tmp_path / "held")), Toy(clips=6, first=100, ssim=True))
    other = tmp_path / "other"
    train_here(
        toy_job(
            write_toy(Folder(str(tmp_path / "lively")), Toy(logvar=True, ssim=True, first=200)), other, network=LEVEL
        )
    )
    options = Options(timesteps=(100, 700), resamples=20, device="cpu")
    job = ValidationJob((str(run), str(pictures), str(other)), held.uri, options)
    found = validate(job, lambda line: None)
    alone = validate(replace(job, runs=(str(other),)), lambda line: None)
    assert found.runs[2].by_timestep[0].loss == alone.runs[0].by_timestep[0].loss
    without = write_toy(Folder(str(tmp_path / "without")), Toy(clips=6, first=100))
    with pytest.raises(InputError, match="nothing in it holds mean_ssim"):
        validate(replace(job, data=without.uri), lambda line: None)
    plain = validate(replace(job, runs=(str(pictures),), data=without.uri), lambda line: None)
    assert plain.runs[0].by_timestep[0].loss == found.runs[1].by_timestep[0].loss


def test_recipes_differ_from_those_without_in_the_level_alone(data: Folder, tmp_path: Path) -> None:
    for with_level, without in (("motif_level", "motif"), ("sprites_level", "sprites")):
        recipe, plain = RECIPES[with_level](), RECIPES[without]()
        assert isinstance(recipe.network, VideoCrafter2)
        assert replace(recipe, network=replace(recipe.network, motion_level=False)) == plain
    facts = open_sources(toy_job(data, tmp_path))[0].facts
    assert estimate_lines(RECIPES["sprites_level"](), facts)[0].endswith(", videocrafter2, x-cat, motion level")
