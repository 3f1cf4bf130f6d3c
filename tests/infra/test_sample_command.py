"""``motif sample`` on the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from diffusion.storage import Folder
from tests.training.datasets import write_toy
from tests.training.runs import toy_job, train_here

Motif = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run, and pictures beside it."""
    folder = tmp_path_factory.mktemp("sample")
    train_here(toy_job(write_toy(Folder(str(folder / "data"))), folder / "run", steps=2))
    for number in range(2):
        picture = np.random.default_rng(number).integers(0, 256, (50, 70, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    (folder / "pairs.csv").write_text("image,prompt,seed\n0.png,square number 1,7\n1.png,square number 2,\n")
    return folder / "run"


def frames(path: Path) -> list[np.ndarray]:
    with av.open(path) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_one_video(motif: Motif, run: Path, tmp_path: Path) -> None:
    args = ["sample", run, "--image", run.parent / "0.png", "--prompt", "square number 1", "--steps", "2"]
    for name in ("a.mp4", "b.mp4"):
        status, out, said = motif(*args, "--out", tmp_path / name)
        assert status == 0, said
    told = json.loads(out)
    assert told["videos"] == [{"file": "b.mp4", "prompt": "square number 1", "seed": 0}]
    assert "step 2 of 2" in said
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert [frame.shape for frame in frames(tmp_path / "a.mp4")] == [(64, 64, 3)] * 4
    with av.open(tmp_path / "a.mp4") as container:
        assert container.metadata["seed"] == "0"
        assert container.metadata["prompt"] == "square number 1"


def test_pairs_and_several_seeds(motif: Motif, run: Path, tmp_path: Path) -> None:
    args = ["sample", run, "--pairs", run.parent / "pairs.csv", "--num", "2", "--steps", "2", "--batch", "3"]
    status, out, said = motif(*args, "--out", tmp_path / "many")
    assert status == 0, said
    listed = json.loads(out)["videos"]
    assert [(video["file"], video["seed"]) for video in listed] == [
        ("0000.mp4", 7),
        ("0001.mp4", 8),
        ("0002.mp4", 0),
        ("0003.mp4", 1),
    ]
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == [video["file"] for video in listed]


def test_a_checkpoint_is_a_model_too(motif: Motif, run: Path, tmp_path: Path) -> None:
    model = run / "checkpoints" / "step-00000002" / "model"
    args = ["--image", run.parent / "0.png", "--prompt", "x", "--steps", "1"]
    assert motif("sample", model, *args, "--out", tmp_path / "a.mp4")[0] == 0


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--prompt", "x", "--out", "a.mp4"], "give --image and --prompt, or --pairs"),
        (["--image", "{}/0.png"], "--out is missing"),
        (["--image", "{}/none.png", "--out", "a.mp4"], "no such file"),
        (["--image", "{}/pairs.csv", "--out", "a.mp4"], "this is no picture"),
        (["--image", "{}/0.png", "--out", "a.mp4", "--num", "2"], "name a folder"),
        (["--image", "{}/0.png", "--out", "a.mp4", "--steps", "0"], "steps 0: at least 1"),
        (["--image", "{}/0.png", "--out", "a.mp4", "--fps", "0"], "--fps 0"),
        (["--pairs", "{}/0.png", "--out", "a"], "cannot be read"),
    ],
)
def test_wrong_options_are_told_in_one_sentence(motif: Motif, run: Path, more: list[str], told: str) -> None:
    status, out, said = motif("sample", run, *(part.format(run.parent) for part in more))
    assert status == 2
    assert told in said
    assert "Traceback" not in said
    assert not out


def test_a_model_that_is_not_there(motif: Motif, run: Path, tmp_path: Path) -> None:
    args = ["--image", run.parent / "0.png", "--out", tmp_path / "a.mp4"]
    status, _, said = motif("sample", tmp_path / "nothing", *args)
    assert status == 2
    assert "there is no run and no model there" in said
