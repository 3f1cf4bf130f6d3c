"""A model's videos of all pairs: resumed, held apart from other models', the same for any number of workers."""

import csv
import hashlib
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from base.errors import InputError
from base.storage.folder import Folder
from diffusion.options import SamplingChanges
from evaluation.bench.dataset import Bench
from evaluation.bench.form import Form
from evaluation.bench.generate import BenchJob, BenchResult, generate
from evaluation.bench.recipe import Options, batches
from evaluation.metrics.measure import measure
from evaluation.metrics.settings import Settings
from evaluation.sprites.videos import read_video
from models.find import find_candidates
from models.folder import revision
from tests.evaluation.bench.small import NAMES, write_dataset
from tests.processes import descendants
from tests.training.datasets import Toy, write_toy
from tests.training.runs import toy_job, train_here

FORM = Form(size=64, frames=6, fps=8)
OPTIONS = Options(sampling=SamplingChanges(steps=2), form=FORM)
FILES = [f"{name}_0.mp4" for name in NAMES]


class Interrupted(Exception):  # noqa: N818
    """What Ctrl+C raises, for tests."""


def quiet(line: str) -> None:
    del line


def stop_after(videos: int) -> Callable[[str], None]:
    """A report that ends the run after so many videos."""

    def report(line: str) -> None:
        if f" {videos} of " in line:
            raise Interrupted

    return report


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.mp4")}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("bench") / "data")


@pytest.fixture(scope="module")
def model(data: Path) -> str:
    """A run of one step: its model makes 12 frames of 64 x 64."""
    toy = write_toy(Folder(str(data.parent / "toy")), Toy(clips=4, shape=(4, 12, 8, 8)))
    train_here(toy_job(toy, data.parent / "run", steps=1))
    return str(data.parent / "run")


@pytest.fixture(scope="module")
def job(data: Path, model: str) -> BenchJob:
    """All five pairs, once."""
    made = BenchJob(model, Bench.read(data), data.parent / "out", OPTIONS, device="cpu")
    assert generate(made, quiet) == BenchResult(str(made.out), 5, 5)
    return made


def test_each_pair_has_its_video(job: BenchJob) -> None:
    assert sorted(contents(job.out)) == sorted([*FILES, "prompts.csv", "videos.csv"])
    for name, pair in zip(FILES, job.bench.pairs, strict=True):
        video = read_video(job.out / name)
        assert (video.frames.shape, video.fps) == ((6, 64, 64, 3), 8)
        with av.open(job.out / name) as container:
            tags = container.metadata
        assert (tags["prompt"], tags["seed"], tags["steps"], tags["model"]) == (pair.prompt, "0", "2", "run")
        assert tags["image"] == hashlib.sha256(pair.image.read_bytes()).hexdigest()[:12]
    assert len({*contents(job.out).values()}) == 7


def test_the_tables_say_what_was_made_with_what(job: BenchJob, model: str) -> None:
    with (job.out / "videos.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [name.removesuffix(".mp4") for name in FILES]
    row = rows[1]
    (found,) = find_candidates([model])
    expected = {
        "prompt": "the dog's tail, waving", "image_id": "dog1", "prompt_slug": "the_dogs_tail_waving", "scene": "dog",
        "seed": "0", "model": "run", "revision": revision(found.weights()), "step": "1", "steps": "2", "frames": "6",
        "height": "64", "width": "64", "fps": "8", "precision": "float32 on cpu", "source": "",
        "clip": "6 frames of 8 x 8 cells at 8 per second",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert (job.out / row["image"]).resolve() == job.bench.pairs[1].image.resolve()
    assert len({row["content"] for row in rows}) == 5


def test_metrics_read_the_folder_and_its_table(job: BenchJob) -> None:
    result = measure(job.out, Settings(prompts=job.out / "prompts.csv", device="cpu"), quiet)
    assert (result.count, result.scenes, result.frames, result.fps) == (5, 2, 6, 8)


def test_what_is_there_is_not_made_again(job: BenchJob) -> None:
    before, files = times(job.out), contents(job.out)
    assert generate(job, quiet).made == 0
    assert times(job.out) == before
    (job.out / FILES[2]).unlink()
    cut = job.out / FILES[3]
    cut.write_bytes(files[FILES[3]][:-100])
    lines: list[str] = []
    assert generate(job, lines.append).made == 2
    assert any(str(cut) in line and "damaged" in line for line in lines)
    assert contents(job.out) == files
    assert [name for name, time in times(job.out).items() if before.get(name) == time] == [FILES[0], FILES[1], FILES[4]]


@pytest.mark.parametrize("videos", [1, 3, 4])
def test_an_interrupted_run_continues(job: BenchJob, tmp_path: Path, videos: int) -> None:
    other = replace(job, out=job.out.parent / f"interrupted-{videos}")
    with pytest.raises(Interrupted):
        generate(other, stop_after(videos))
    assert sorted(times(other.out)) == FILES[:videos]
    before = times(other.out)
    assert generate(other, quiet).made == 5 - videos
    assert contents(other.out) == contents(job.out)
    assert {name: times(other.out)[name] for name in before} == before


def test_the_first_pairs_then_all(job: BenchJob) -> None:
    few = replace(job, out=job.out.parent / "few", num=2)
    assert generate(few, quiet) == BenchResult(str(few.out), 2, 2)
    assert (few.out / "prompts.csv").read_text().count("\n") == 3
    assert generate(replace(few, num=None), quiet) == BenchResult(str(few.out), 5, 3)
    assert generate(few, quiet) == BenchResult(str(few.out), 5, 0)
    assert contents(few.out) == contents(job.out)


@pytest.mark.slow
def test_any_number_of_workers_makes_the_same(ray_cluster: None, job: BenchJob) -> None:
    for workers in (1, 2):
        spread = replace(job, out=job.out.parent / f"workers-{workers}", workers=workers)
        assert generate(spread, quiet).made == 5
        assert contents(spread.out) == contents(job.out)
    (spread.out / FILES[1]).unlink()
    assert generate(replace(spread, workers=0), quiet).made == 1
    assert contents(spread.out) == contents(job.out)
    with pytest.raises(InputError, match=r"--workers 3: the cluster has 2 cores, and each worker needs one"):
        generate(replace(spread, workers=3), quiet)


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced(ray_cluster: None, job: BenchJob) -> None:
    killed: list[int] = []

    def kill_one(line: str) -> None:
        if " 1 of " in line:
            killed.append(next(pid for pid, command in descendants(os.getpid()) if "ray::Worker" in command))
            os.kill(killed[0], signal.SIGKILL)

    spread = replace(job, out=job.out.parent / "killed", workers=1)
    assert generate(spread, kill_one).made == 5
    assert len(killed) == 1
    assert contents(spread.out) == contents(job.out)


@pytest.mark.slow
def test_a_workers_error_is_the_commands(ray_cluster: None, data: Path, job: BenchJob) -> None:
    """Raised where the video is made: the model's weights are gone."""
    run = data.parent / "gone"
    toy = write_toy(Folder(str(data.parent / "toy2")), Toy(clips=4, shape=(4, 12, 8, 8)))
    train_here(toy_job(toy, run, steps=1))
    (weights,) = run.glob("checkpoints/*/model/unet/*.safetensors")
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read"):
        generate(replace(job, model=str(run), out=data.parent / "none", workers=1), quiet)


OTHERS = {
    "guidance": replace(OPTIONS, sampling=SamplingChanges(steps=2, guidance=2.0)),
    "steps": replace(OPTIONS, sampling=SamplingChanges(steps=3)),
    "precision": replace(OPTIONS, precision="bfloat16"),
    "form": replace(OPTIONS, form=replace(FORM, size=32)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_videos_of_other_settings_are_not_mixed(job: BenchJob, name: str) -> None:
    before = contents(job.out)
    with pytest.raises(InputError, match=rf"{FILES[0]} was made with another {name}: .*, not .*new folder for --out"):
        generate(replace(job, options=OTHERS[name]), quiet)
    assert contents(job.out) == before


def test_videos_of_others_are_not_mixed(job: BenchJob, data: Path, tmp_path: Path) -> None:
    before = contents(job.out)
    with pytest.raises(InputError, match=rf"{FILES[0]} is no video of these pairs with seed 7"):
        generate(replace(job, options=replace(OPTIONS, seed=7)), quiet)
    step = next((Path(job.model) / "checkpoints").iterdir())
    with pytest.raises(InputError, match=rf"{FILES[0]} was made with another model: run, not run step 1"):
        generate(replace(job, model=str(step / "model")), quiet)
    changed = write_dataset(tmp_path / "data")
    cv2.imwrite(str(changed / "images" / "sun1.png"), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(InputError, match=rf"{FILES[3]} was made with another image: \w+, not \w+"):
        generate(replace(job, bench=Bench.read(changed)), quiet)
    assert contents(job.out) == before
    (tmp_path / FILES[0]).write_bytes(before[FILES[1]])
    with pytest.raises(InputError, match="was made with another prompt: the dog's tail, waving, not A dog barking"):
        generate(replace(job, out=tmp_path), quiet)
    (tmp_path / FILES[0]).unlink()
    (tmp_path / "holidays.mp4").write_bytes(b"precious")
    with pytest.raises(InputError, match=r"holidays\.mp4 is no video of these pairs"):
        generate(replace(job, out=tmp_path), quiet)
    assert (tmp_path / "holidays.mp4").read_bytes() == b"precious"


def test_a_damaged_image_is_found_first(job: BenchJob, tmp_path: Path) -> None:
    broken = write_dataset(tmp_path / "data")
    image = broken / "images" / "sun1.png"
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(InputError, match=r"image .*sun1\.png: this PNG file is truncated or broken"):
        generate(replace(job, bench=Bench.read(broken), out=tmp_path / "out"), quiet)
    assert not (tmp_path / "out").exists()


def test_a_model_whose_clips_are_too_short(job: BenchJob, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run makes 12 frames at .*Set --frames 12 or fewer"):
        generate(replace(job, options=replace(OPTIONS, form=Form()), out=tmp_path / "out"), quiet)
    assert not (tmp_path / "out").exists()


def test_batches_only_depend_on_the_pairs(job: BenchJob) -> None:
    """On a GPU, whose rounding depends on what is sampled together."""
    groups = batches(job.bench.pairs, 2)
    assert [len(group) for group in groups] == [2, 2, 1]
    assert tuple(pair for group in groups for pair in group) == job.bench.pairs


@pytest.mark.gpu
def test_a_gpu_makes_the_same_after_an_interruption(job: BenchJob) -> None:
    """Batches of two; one video of a batch is missing."""
    on_gpu = replace(job, device="cuda", options=replace(OPTIONS, batch=2), out=job.out.parent / "gpu")
    generate(on_gpu, quiet)
    before = contents(on_gpu.out)
    for name in (FILES[0], FILES[3], FILES[4]):
        (on_gpu.out / name).unlink()
    assert generate(on_gpu, quiet).made == 3
    assert contents(on_gpu.out) == before
    with pytest.raises(InputError, match="another precision: float32 on cuda, 2 at once, not float32 on cpu"):
        generate(replace(on_gpu, device="cpu"), quiet)
