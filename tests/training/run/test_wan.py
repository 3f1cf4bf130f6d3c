"""Wan on latents that compress time and text without padding: it learns, resumes, samples as any other."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from base.storage.folder import Folder
from diffusion.flow import Flow
from diffusion.options import Sampling
from media.video_file import encode_video
from models.find import find_candidates
from models.generator import Generator, Request
from models.wan.backbone import Wan
from serving.generate.describe import describe
from tests.models.wan.tiny import NETWORK
from tests.training.datasets import Toy, write_toy
from tests.training.runs import losses, same, toy_job, train_here, weights
from training.loop.objective import Objective
from training.loop.optimiser import Optimiser
from training.loop.parallel import World
from training.loop.train_step import TrainStep
from training.options import Samples
from training.run.worker import Worker
from training.wan_recipes import ALL, wan_sprites, wan_ti2v_5b

TOY = Toy(shape=(4, 9, 8, 8), stride=4, ragged=True)
CHANGES = {"network": NETWORK, "schedule": Flow(shift=5.0), "samples": Samples(every=2, num=2, steps=2)}
CPU = torch.device("cpu")
PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return write_toy(Folder(str(tmp_path_factory.mktemp("wan") / "dataset")), TOY)


@pytest.fixture(scope="module")
def run(data: Folder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four steps; not to be written to."""
    folder = tmp_path_factory.mktemp("run") / "run"
    train_here(toy_job(data, folder, **CHANGES))
    return folder


def test_a_run_that_stopped_goes_on_as_if_it_had_not(data: Folder, run: Path, tmp_path: Path) -> None:
    train_here(toy_job(data, tmp_path / "cut", steps=2, **CHANGES))
    train_here(toy_job(data, tmp_path / "cut", **CHANGES))
    assert losses(tmp_path / "cut") == losses(run)
    assert same(weights(tmp_path / "cut"), weights(run))


def test_samples_of_training_have_all_frames_of_a_video(run: Path) -> None:
    with av.open(run / "samples" / "step-00000004" / "00.mp4") as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert frames.shape == (9, 64, 128, 3)


def test_its_model_makes_videos_of_as_many_frames_as_its_clips_had(run: Path) -> None:
    """Fewer ones, too: as many latents are sampled as they need, and their first frames are kept."""
    (found,) = find_candidates([str(run)])
    assert (found.facts.frames, found.facts.video_frames) == (3, 9)
    generator, options = Generator.load(found.weights(), CPU), Sampling(steps=2, guidance=2.0)
    whole = generator.generate([Request(PICTURE, "a square"), Request(PICTURE, "a star", seed=1)], options)
    assert whole.shape == (2, 9, 64, 64, 3)
    reconstructed = generator.space.decode(
        generator.space.encode(torch.from_numpy(PICTURE).permute(2, 0, 1)[None].float() / 127.5 - 1)[:, :, None]
    )
    expected = ((reconstructed[0].permute(1, 2, 0) + 1) * 127.5).round().numpy()
    np.testing.assert_array_equal(whole[:, 0], np.stack([expected] * 2))
    for frames, latents in ((1, 1), (2, 2), (5, 2), (6, 3)):
        shorter = generator.generate([Request(PICTURE, "a square")], options, frames=frames)
        assert shorter.shape == (1, frames, 64, 64, 3)
        longer = generator.generate([Request(PICTURE, "a square")], options, frames=4 * latents - 3)
        np.testing.assert_array_equal(shorter, longer[:, :frames])
    served = describe("wan", str(found.folder.path))
    assert (served.frames, served.height, served.width, served.takes_image) == (9, 64, 64, True)
    assert encode_video(whole[0], served.usual_fps or 8.0)


@pytest.mark.slow
def test_it_learns_a_batch_by_heart(data: Folder, tmp_path: Path) -> None:
    """The same clips, noise and times again and again: what it is given and what it must find are all there is."""
    recipe = wan_sprites()
    job = toy_job(data, tmp_path / "run", network=recipe.network, schedule=recipe.schedule, samples=Samples(every=0))
    worker = Worker(job, World(CPU), lambda line: None)
    with worker.batches() as steps:
        batch = next(steps)
    objective = Objective(recipe.schedule, recipe.loss)
    step = TrainStep(worker.state, objective, Optimiser(lr=2e-3, clip_norm=1.0), World(CPU), 0)
    found = [step.step(replace(batch, step=number)).loss for number in range(300)]
    assert found[-1] < 0.05 * found[0]


def test_recipes_are_wans() -> None:
    for make in (wan_sprites, wan_ti2v_5b):
        recipe = make()
        assert isinstance(recipe.network, Wan)
        assert recipe.network.image_condition == "clamp"
        assert recipe.schedule == Flow(shift=5.0)
        assert ALL[make.__name__] is make
    assert wan_ti2v_5b().adapter is not None
    assert wan_sprites().adapter is None
