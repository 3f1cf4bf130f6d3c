"""Models on held-out pairs: sampling, scores and controls, and the command."""

import json
from dataclasses import replace
from pathlib import Path

import av
import pytest

from base.errors import InputError
from base.storage.folder import Folder
from diffusion.options import SamplingChanges
from evaluation.sprites.evaluate import EvaluationJob, evaluate
from evaluation.sprites.pairs import Pairs
from evaluation.sprites.sampling import SamplingOptions, sample_videos
from evaluation.sprites.table import tables
from evaluation.sprites.videos import read_video
from infra import cli
from models.find import find_candidates
from pipeline.sprites.files import write_sprites
from pipeline.sprites.world import World
from tests.training.datasets import Toy, write_toy
from tests.training.runs import SMALL, toy_job, train_here

WORLD = World(64, 64, kinds=("moves",), clear=True)
OPTIONS = SamplingOptions(device="cpu", sampling=SamplingChanges(steps=2))


def quiet(line: str) -> None:
    del line


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step: its model makes 12 frames of 64 x 64."""
    folder = tmp_path_factory.mktemp("model")
    data = write_toy(Folder(str(folder / "data")), Toy(clips=4, shape=(4, 12, 8, 8)))
    train_here(toy_job(data, folder / "run", steps=1))
    return folder / "run"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs") / "sprites"
    write_sprites(folder, WORLD, 4, 2, 2)
    return folder


def test_a_model_of_text_alone_is_refused(run: Path, pairs: Path, tmp_path: Path) -> None:
    network = replace(SMALL, image_condition="none")
    train_here(toy_job(Folder(str(run.parent / "data")), tmp_path / "words", steps=1, network=network))
    job = EvaluationJob((str(run), str(tmp_path / "words")), pairs, Folder(str(tmp_path / "out")), options=OPTIONS)
    with pytest.raises(
        InputError, match=r"words makes videos from text alone, and only .* can be scored\. Leave it out\."
    ):
        evaluate(job, quiet)
    assert not (tmp_path / "out").exists()


def test_a_run_is_sampled_and_scored_once(run: Path, pairs: Path, tmp_path: Path) -> None:
    job = EvaluationJob((str(run),), pairs, Folder(str(tmp_path)), options=OPTIONS)
    found = evaluate(job, quiet)
    videos = sorted(tmp_path.glob("run/*.mp4"))
    assert [path.name for path in videos] == [f"{number:06}.mp4" for number in range(4)]
    video = read_video(videos[0])
    assert video.frames.shape == (12, 64, 64, 3)
    with av.open(videos[0]) as container:
        assert container.metadata["prompt"] == Pairs.read(pairs).clips[0].motion.caption
    assert [row.name for row in found.controls] == ["ground truth", "static", "random direction"]
    assert found.controls[0].summary.right.value == 1
    assert found.controls[1].summary.right.value == 0
    assert found.models[0].step == 1
    assert found.models[0].summary.videos == 4
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    assert evaluate(job, quiet) == found
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == written
    videos[1].unlink()
    assert evaluate(job, quiet) == found
    assert videos[1].is_file()
    other = evaluate(replace(job, options=replace(OPTIONS, seed=1)), quiet)
    assert videos[0].stat().st_mtime_ns != written[videos[0]]
    assert other.models[0].summary.error != found.models[0].summary.error
    assert [len(table.columns) for table in tables(found)] == [5]


def test_prompts_of_an_image_begin_with_the_same_noise(run: Path, pairs: Path, tmp_path: Path) -> None:
    (model,) = find_candidates([str(run)])
    sample_videos(model, Pairs.read(pairs), OPTIONS, Folder(str(tmp_path)), quiet)
    seeds = []
    for number in range(4):
        with av.open(tmp_path / f"{number:06}.mp4") as container:
            seeds.append(container.metadata["seed"])
    assert seeds == ["0", "0", "1", "1"]


def test_a_folder_of_videos_is_scored_as_it_is(pairs: Path, tmp_path: Path) -> None:
    found = evaluate(EvaluationJob((str(pairs / "videos"),), pairs, Folder(str(tmp_path)), 1, OPTIONS), quiet)
    assert found.models[0].step is None
    assert found.models[0].summary.right.value == 1
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "000000.mp4").write_bytes((pairs / "videos" / "000000.mp4").read_bytes())
    job = EvaluationJob((str(tmp_path / "some"),), pairs, Folder(str(tmp_path / "out")), options=OPTIONS)
    with pytest.raises(InputError, match=r"lacks 000001.mp4 and 2 more"):
        evaluate(job, quiet)


def test_videos_that_end_before_anything_has_moved_are_noted(pairs: Path, tmp_path: Path) -> None:
    """Ground truth cannot be right then."""
    for number in range(2):
        video = read_video(pairs / "videos" / f"{number:06}.mp4")
        (tmp_path / f"{number:06}.mp4").write_bytes(replace(video, frames=video.frames[:3]).encoded())
    lines: list[str] = []
    evaluate(EvaluationJob((str(tmp_path),), pairs, Folder(str(tmp_path / "out")), 2, OPTIONS), lines.append)
    assert any("ground truth is right in only" in line for line in lines)


def test_subjects_must_be_comparable(run: Path, pairs: Path, tmp_path: Path) -> None:
    job = EvaluationJob((str(run), str(pairs / "videos")), pairs, Folder(str(tmp_path)), options=OPTIONS)
    with pytest.raises(
        InputError, match="videos differ in frames and rate: run 12 at 8, videos 17 at 8 frames per second"
    ):
        evaluate(job, quiet)


def test_the_command(run: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--pairs", str(pairs), "--out", str(tmp_path), "--num", "2", "--device", "cpu", "--steps", "2"]
    assert cli.run(["evaluate", "sprites", str(run), *arguments]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found == json.loads((tmp_path / "evaluation.json").read_text())
    assert found["models"][0]["summary"]["videos"] == 2
    assert "displacement error" in shown.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["frobnicate"], "choose from sprites"),
        (["sprites"], "RUN is missing"),
        (["sprites", "run"], "--pairs is missing"),
        (["sprites", "run", "--pairs", "nowhere"], "--out is missing"),
        (["sprites", "run", "--pairs", "nowhere", "--out", "s3://b/x"], "give a folder on this machine"),
        (["sprites", "run", "--pairs", "nowhere", "--out", "x", "--num", "0"], "--num 0"),
        (["sprites", "run", "--pairs", "nowhere", "--out", "x", "--batch", "0"], "--batch 0"),
        (["sprites", "run", "--pairs", "nowhere", "--out", "x"], "nowhere: its world.json and truth.jsonl cannot be"),
    ],
)
def test_mistakes(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["evaluate", *args]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
