"""Runs without an image condition: nothing of a clip is given, and models that begin with a picture start from them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from base.errors import InputError
from base.storage.folder import Folder
from diffusion.motion_focal import MotionFocal
from models.folder import load_facts, load_network
from models.video_model import DataShapes, VideoModel
from models.videocrafter2.backbone import VideoCrafter2
from tests.training.runs import SMALL, losses, same, toy_job, train_here, weights
from training.data.batch import Batch
from training.loop.objective import Objective
from training.loop.parallel import World
from training.network import build_network
from training.options import Samples
from training.recipes import RECIPES
from training.run.dry_run import estimate_lines
from training.run.job import open_sources
from training.run.worker import Worker

TEXT = replace(SMALL, image_condition="none")
OFTEN = Samples(every=2, num=2, steps=2)


@pytest.fixture(scope="module")
def run(toy_dataset: Folder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text-to-video run of four steps; not to be written to."""
    folder = tmp_path_factory.mktemp("text") / "run"
    train_here(toy_job(toy_dataset, folder, network=TEXT, samples=OFTEN))
    return folder


@pytest.fixture
def model(run: Path) -> Path:
    return run / "checkpoints" / "step-00000004" / "model"


def test_a_run_is_of_text_alone(run: Path, model: Path) -> None:
    network = load_network(model)
    assert network.conditions == ("text", "fps")
    assert network.conv_in.in_channels == network.latent_channels == 4
    assert load_facts(model).image == {}
    told = json.loads((run / "samples" / "step-00000004" / "prompts.json").read_text())
    assert told["right"] == "sampled from its prompt"
    assert told["samples"][0]["prompt"].startswith("square number")


def test_a_run_that_stopped_goes_on_as_if_it_had_not(toy_dataset: Folder, tmp_path: Path, run: Path) -> None:
    train_here(toy_job(toy_dataset, tmp_path / "cut", network=TEXT, steps=2, samples=OFTEN))
    train_here(toy_job(toy_dataset, tmp_path / "cut", network=TEXT, samples=OFTEN))
    assert losses(tmp_path / "cut") == losses(run)
    assert same(weights(tmp_path / "cut"), weights(run))


def first_batch(data: Folder, out: Path) -> Batch:
    """The clips and draws of a run's first step."""
    with Worker(toy_job(data, out, network=TEXT), World(torch.device("cpu")), lambda line: None).batches() as steps:
        return next(steps).micro_batches[0]


def test_the_first_frame_is_noised_and_counts_as_any_other(toy_dataset: Folder, tmp_path: Path) -> None:
    """The loss in closed form over all frames; the network is given nothing but noised latents, text and rate."""
    batch, process = first_batch(toy_dataset, tmp_path), RECIPES["sprites_t2v"]().schedule
    network = TEXT.new(DataShapes((4, 4, 8, 8), (6, 16)))
    seen: list[tuple[Tensor, set[str]]] = []

    def halve(sample: Tensor, timestep: Tensor, **given: Tensor) -> Tensor:
        seen.append((sample, set(given)))
        return 0.5 * sample

    network.forward = halve  # type: ignore[method-assign]
    found = Objective(process, MotionFocal())(network, batch)
    noised = process.noised(batch.latents, batch.noise, batch.timestep)
    assert torch.equal(seen[0][0], noised)
    assert not torch.equal(noised[:, :, 0], batch.latents[:, :, 0])
    assert seen[0][1] == {"text", "fps"}
    error = process.target(batch.latents, batch.noise, batch.timestep) - 0.5 * noised
    weighted = batch.heatmap[:, None] * error
    expected = (error**2).mean(dim=(1, 2, 3, 4)) + (weighted**2).mean(dim=(1, 2, 3, 4))
    torch.testing.assert_close(found.total, expected)
    assert batch.heatmap[:, 0].any()


def inputs(network: VideoModel) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(3)
    given = {"text": torch.randn(2, 6, 16, generator=draw), "fps": torch.tensor([8.0, 9.0])}
    if network.takes_image:
        given["image_latent"] = torch.randn(2, 4, 8, 8, generator=draw)
    return {"sample": torch.randn(2, 4, 4, 8, 8, generator=torch.Generator().manual_seed(4)), **given}


@torch.no_grad()
def test_a_model_of_pictures_starts_as_the_trained_text_to_video_model(
    toy_dataset: Folder, tmp_path: Path, run: Path, model: Path
) -> None:
    """Bit for bit: the prediction, and the videos that the new run samples before its first step."""
    pictures = replace(SMALL, start=str(model))
    sources = open_sources(toy_job(toy_dataset, tmp_path, network=pictures))
    grown, text = build_network(pictures, sources[0].facts, seed=1).eval(), load_network(model)
    assert (grown.takes_image, text.takes_image) == (True, False)
    time = torch.tensor([17, 801])
    assert torch.equal(grown(timestep=time, **inputs(grown)), text(timestep=time, **inputs(text)))
    with torch.enable_grad():
        train_here(toy_job(toy_dataset, tmp_path / "pictures", network=pictures, steps=2, samples=OFTEN))
    for name in ("00.mp4", "01.mp4"):
        before, after = (tmp_path / "pictures" / "samples" / f"step-{step:08}" / name for step in (0, 2))
        assert before.read_bytes() == (run / "samples" / "step-00000004" / name).read_bytes()
        assert after.read_bytes() != before.read_bytes()
    trained = load_network(tmp_path / "pictures" / "checkpoints" / "step-00000002" / "model")
    assert trained.conv_in.weight[:, 4:].any()  # it has begun to look at the picture


@torch.no_grad()
def test_it_is_trained_from_a_text_to_video_model_as_it_is(toy_dataset: Folder, tmp_path: Path, model: Path) -> None:
    network = replace(TEXT, start=str(model))
    sources = open_sources(toy_job(toy_dataset, tmp_path, network=network))
    began = build_network(network, sources[0].facts, seed=1)
    assert same(dict(began.state_dict()), dict(load_network(model).state_dict()))


def test_it_does_not_start_from_a_model_of_pictures(toy_dataset: Folder, tmp_path: Path) -> None:
    train_here(toy_job(toy_dataset, tmp_path / "pictures", steps=1))
    start = tmp_path / "pictures" / "checkpoints" / "step-00000001" / "model"
    with pytest.raises(InputError, match=r"^network\.image_condition none: the model in .* was trained with x-cat\."):
        train_here(toy_job(toy_dataset, tmp_path / "text", network=replace(TEXT, start=str(start))))


def test_recipes_differ_from_those_of_pictures_in_the_condition_alone() -> None:
    for of_text, of_pictures in (("t2v_motif", "motif"), ("sprites_t2v", "sprites")):
        text, pictures = RECIPES[of_text](), RECIPES[of_pictures]()
        assert isinstance(text.network, VideoCrafter2)
        assert replace(text, network=replace(text.network, image_condition="x-cat")) == pictures
        assert not text.network.takes_image_tokens


def test_an_estimate_says_what_it_is_of(toy_dataset: Folder, tmp_path: Path) -> None:
    recipe = RECIPES["sprites_t2v"]()
    facts = open_sources(toy_job(toy_dataset, tmp_path))[0].facts
    assert estimate_lines(recipe, facts)[0].endswith(", videocrafter2, text to video")
