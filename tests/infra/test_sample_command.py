"""``motif sample`` on the command line."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from base.storage.folder import Folder
from diffusion.options import Sampling
from models.folder import load_facts, revision
from models.misfits import superfluous_image
from tests.training.datasets import Toy, write_toy
from tests.training.runs import SMALL, TOY, toy_job, train_here

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
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:100])
    (folder / "folder.mp4").mkdir()
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


def test_a_video_says_what_it_was_made_with(motif: Motif, run: Path, tmp_path: Path) -> None:
    prompt = "square number 1, 🙂 и ещё " * 400
    args = ["sample", run, "--image", run.parent / "0.png", "--prompt", prompt, "--negative-prompt", "blur"]
    args += ["--steps", "2", "--guidance", "3", "--seed", "5"]
    for name in ("a.mp4", "a.gif"):
        status, _, said = motif(*args, "--out", tmp_path / name)
        assert status == 0, said
    expected = {
        "software": "motif",
        "model": "run",
        "revision": revision(run / "checkpoints" / "step-00000002" / "model"),
        "prompt": prompt,
        "negative_prompt": "blur",
        "seed": "5",
        "fps": "9",
        "steps": "2",
        "guidance": "3.0",
        "guidance_rescale": "0.0",
        "eta": "0.0",
    }
    with av.open(tmp_path / "a.mp4") as container:
        assert {name: container.metadata[name] for name in expected} == expected
    with Image.open(tmp_path / "a.gif") as image:
        assert json.loads(image.info["comment"]) == expected
        assert (image.n_frames, image.size, image.info["loop"]) == (4, (64, 64), 0)


def test_the_whole_interval_of_guidance_is_none(motif: Motif, run: Path, tmp_path: Path) -> None:
    """Byte for byte; any other one is in the file, as it is given on the command line, and changes the video."""
    args = ["sample", run, "--image", run.parent / "0.png", "--prompt", "x", "--steps", "3", "--guidance", "15"]
    for name, interval in (("plain", ()), ("whole", (0, 1)), ("part", (0.2, 0.7))):
        chosen = ["--guidance-interval", *interval] if interval else []
        status, _, said = motif(*args, *chosen, "--out", tmp_path / f"{name}.mp4")
        assert status == 0, said
    assert (tmp_path / "plain.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    with av.open(tmp_path / "plain.mp4") as plain, av.open(tmp_path / "part.mp4") as part:
        assert part.metadata["guidance_interval"] == "0.2 0.7"
        assert "guidance_interval" not in plain.metadata
        frames = [[frame.to_ndarray() for frame in video.decode(video=0)] for video in (plain, part)]
    assert not np.array_equal(*frames)
    status, _, said = motif(*args, "--guidance-interval", 0.7, 0.2, "--out", tmp_path / "a.mp4")
    assert status == 2
    assert "guidance_interval 0.7 0.2: must be noise levels from 0 (the clip) to 1 (noise), the lower first." in said


def test_a_run_says_how_it_is_sampled(motif: Motif, tmp_path: Path) -> None:
    samples = replace(TOY.samples, steps=3, guidance=1.25, guidance_interval=(0.1, 0.6))
    train_here(toy_job(write_toy(Folder(str(tmp_path / "data"))), tmp_path / "run", steps=1, samples=samples))
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((50, 70, 3), np.uint8))
    args = ["sample", tmp_path / "run", "--image", tmp_path / "a.png", "--prompt", "x"]
    for changes, expected in ((), ("3", "1.25")), (("--guidance", "2"), ("3", "2.0")):
        status, _, said = motif(*args, *changes, "--out", tmp_path / "a.mp4")
        assert status == 0, said
        with av.open(tmp_path / "a.mp4") as container:
            assert (container.metadata["steps"], container.metadata["guidance"]) == expected
    facts = load_facts(tmp_path / "run" / "checkpoints" / "step-00000001" / "model")
    assert facts.sampling == Sampling(steps=3, guidance=1.25, guidance_interval=(0.1, 0.6))


def test_a_folder_of_pairs_and_a_grid(motif: Motif, run: Path, tmp_path: Path) -> None:
    """A row an image, a column a seed; each tile is the video of its own."""
    (tmp_path / "pairs").mkdir()
    for number in range(2):
        (tmp_path / "pairs" / f"{number}.png").write_bytes((run.parent / f"{number}.png").read_bytes())
        (tmp_path / "pairs" / f"{number}.txt").write_text(f"square number {number}\n")
    args = ["sample", run, "--pairs", tmp_path / "pairs", "--num", "3", "--steps", "1", "--frames", "2"]
    status, out, said = motif(*args, "--out", tmp_path / "many", "--grid", tmp_path / "many" / "grid.mp4")
    assert status == 0, said
    told = json.loads(out)
    assert [(video["prompt"], video["seed"]) for video in told["videos"]] == [
        (f"square number {number}", seed) for number in range(2) for seed in range(3)
    ]
    assert told["grid"] == str(tmp_path / "many" / "grid.mp4")
    grid = frames(tmp_path / "many" / "grid.mp4")
    assert [frame.shape for frame in grid] == [(128, 192, 3)] * 2
    for number, video in enumerate(told["videos"]):
        one = frames(tmp_path / "many" / video["file"])[1].astype(int)
        y, x = 64 * (number // 3), 64 * (number % 3)
        assert np.abs(one - grid[1][y : y + 64, x : x + 64]).mean() < 6


def test_a_grid_may_be_a_gif(motif: Motif, run: Path, tmp_path: Path) -> None:
    args = ["sample", run, "--image", run.parent / "0.png", "--prompt", "", "--num", "2", "--steps", "1"]
    args += ["--precision", "bfloat16"]
    assert motif(*args, "--out", tmp_path / "many", "--grid", tmp_path / "grid.gif")[0] == 0
    with Image.open(tmp_path / "grid.gif") as image:
        assert image.size == (128, 64)


def test_what_is_done_is_kept_when_a_later_video_fails(motif: Motif, run: Path, tmp_path: Path) -> None:
    """An image vanishes while the first video is written."""
    out, images = tmp_path / "many", [tmp_path / f"{number}.png" for number in range(8)]
    for image in images:
        image.write_bytes((run.parent / "0.png").read_bytes())
    (tmp_path / "pairs.csv").write_text("image,prompt\n" + "".join(f"{image.name},x\n" for image in images))

    def remove() -> None:
        while not (out / "0000.mp4").exists():
            time.sleep(0.001)
        images[-1].unlink()

    remover = threading.Thread(target=remove, daemon=True)
    remover.start()
    status, told, said = motif("sample", run, "--pairs", tmp_path / "pairs.csv", "--steps", "2", "--out", out)
    remover.join()
    assert status == 2
    assert not told
    assert "7.png: there is no such file" in said
    assert "7 of 8 videos are written and kept" in said
    assert len(list(out.iterdir())) == 7
    assert len(frames(out / "0006.mp4")) == 4


@pytest.fixture(scope="module")
def of_text(run: Path) -> Path:
    """A text-to-video run on the same clips."""
    network = replace(TOY.network, image_condition="none")  # type: ignore[call-arg]
    train_here(toy_job(Folder(str(run.parent / "data")), run.parent / "words", steps=1, network=network))
    return run.parent / "words"


def test_prompts_alone_to_a_text_to_video_model(motif: Motif, of_text: Path, tmp_path: Path) -> None:
    """One, and a table; in the grid a row a prompt, a column a seed."""
    for name in ("a.mp4", "b.mp4"):
        args = ["--prompt", "square number 1", "--seed", "3", "--steps", "2", "--out", tmp_path / name]
        status, out, said = motif("sample", of_text, *args)
        assert status == 0, said
    assert json.loads(out)["videos"] == [{"file": "b.mp4", "prompt": "square number 1", "seed": 3}]
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    (tmp_path / "prompts.csv").write_text("prompt,seed\nsquare number 1,3\nsquare number 2,\n")
    args = ["--pairs", tmp_path / "prompts.csv", "--num", "3", "--steps", "2", "--grid", tmp_path / "grid.mp4"]
    status, out, said = motif("sample", of_text, *args, "--out", tmp_path / "many")
    assert status == 0, said
    assert [video["seed"] for video in json.loads(out)["videos"]] == [3, 4, 5, 0, 1, 2]
    assert frames(tmp_path / "grid.mp4")[0].shape == (128, 192, 3)
    alone, in_table = (frames(path) for path in (tmp_path / "a.mp4", tmp_path / "many" / "0000.mp4"))
    assert all((one == other).all() for one, other in zip(alone, in_table, strict=True))


@pytest.mark.parametrize(
    "more",
    [["--image", "{}/0.png", "--prompt", "x"], ["--image", "none.png", "--prompt", "x"], ["--pairs", "{}/pairs.csv"]],
)
def test_a_picture_to_a_text_to_video_model(motif: Motif, of_text: Path, more: list[str], tmp_path: Path) -> None:
    args = [part.format(of_text.parent) for part in more]
    status, out, said = motif("sample", of_text, *args, "--out", tmp_path / "a")
    assert (status, out, said) == (2, "", f"motif: {superfluous_image('words')}\n")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--out", "a.mp4"], "or a folder of both; for a text-to-video model, --prompt alone."),
        (
            ["--prompt", "x", "--image", "{}/0.png", "--pairs", "{}/pairs.csv", "--out", "a"],
            "give --image and --prompt, or",
        ),
        (["--prompt", "x", "--out", "a.mp4"], "give --image and --prompt, or --pairs"),
        (["--image", "{}/0.png"], "--out is missing"),
        (["--image", "{}/0.png", "--out", "a.mp4"], "--prompt is missing"),
        (["--prompt", "x", "--image", "{}/none.png", "--out", "a.mp4"], "no such file"),
        (["--prompt", "x", "--image", "{}/pairs.csv", "--out", "a.mp4"], "not a readable picture or video"),
        (["--prompt", "x", "--image", "{}/cut.png", "--out", "a.mp4"], "this PNG file is truncated or broken"),
        (["--prompt", "x", "--image", "{}/0.png", "--out", "a.mp4", "--num", "2"], "give a folder"),
        (["--prompt", "x", "--image", "{}/0.png", "--out", "a.mp4", "--steps", "0"], "steps 0: must be at least 1"),
        (["--prompt", "x", "--image", "{}/0.png", "--out", "a.mp4", "--fps", "0"], "--fps 0"),
        (["--pairs", "{}/0.png", "--out", "a"], "0.png is not UTF-8 text"),
        (["--pairs", "{}/none.csv", "--out", "a"], "cannot be read"),
        (["--pairs", "{}/run", "--out", "a"], "there is no picture"),
        (["--pairs", "{}/pairs.csv", "--prompt", "x", "--out", "a"], "each image has its own prompt"),
        (
            ["--prompt", "x", "--image", "{}/0.png", "--out", "a.webm"],
            "--out a.webm: videos are written as .mp4 or .gif",
        ),
        (["--prompt", "x", "--image", "{}/0.png", "--out", "{}/pairs.csv"], "this is a file"),
        (
            ["--prompt", "x", "--image", "{}/0.png", "--out", "a", "--grid", "b"],
            "--grid b: videos are written as .mp4 or .gif",
        ),
        (["--prompt", "x", "--image", "{}/0.png", "--out", "a.mp4", "--grid", "a.mp4"], "--out writes this file"),
        (["--prompt", "x", "--image", "{}/0.png", "--out", "{}/folder.mp4"], "folder.mp4 is a folder"),
        (
            ["--image", "{}/0.png", "--prompt", "x", "--out", "a", "--grid", "b.mp4", "--num", "99999"],
            "a video has at most 16384 per side",
        ),
        (
            ["--prompt", "x", "--image", "{}/0.png", "--out", "a.mp4", "--frames", "5"],
            "--frames 5: run makes videos of 1 to 4 frames",
        ),
        (
            ["--prompt", "x", "--image", "{}/0.png", "--out", "a.mp4", "--frames", "0"],
            "--frames 0: run makes videos of 1 to 4 frames",
        ),
        (["--prompt", "x", "--image", "{}/0.png", "--out", "a.mp4", "--seed", "-1"], "seed -1: must be from 0 to"),
        (["--prompt", "x", "--image", "{}/0.png", "--out", "a.mp4", "--seed", str(2**63)], "from 0 to"),
        (["--prompt", "x", "--image", "{}/0.png", "--out", "a.mp4", "--precision", "half"], "float32"),
    ],
)
def test_wrong_options_are_told_in_one_sentence(motif: Motif, run: Path, more: list[str], told: str) -> None:
    status, out, said = motif("sample", run, *(part.format(run.parent) for part in more))
    assert status == 2
    assert told in said
    assert "Traceback" not in said
    assert not out


def test_a_gpu_that_is_not_there(motif: Motif, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    args = ["--image", run.parent / "0.png", "--prompt", "x", "--out", tmp_path / "a.mp4", "--device", "cuda"]
    status, _, said = motif("sample", run, *args)
    assert status == 2
    assert "device cuda: this machine has no GPU that torch can use" in said


def test_a_model_that_is_not_there(motif: Motif, run: Path, tmp_path: Path) -> None:
    args = ["--image", run.parent / "0.png", "--prompt", "x", "--out", tmp_path / "a.mp4"]
    status, _, said = motif("sample", tmp_path / "nothing", *args)
    assert status == 2
    assert "neither a run nor a model" in said


@pytest.fixture(scope="module")
def leveled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a motion level."""
    folder = tmp_path_factory.mktemp("leveled")
    data = write_toy(Folder(str(folder / "data")), Toy(ssim=True))
    train_here(toy_job(data, folder / "run", network=replace(SMALL, motion_level=True), steps=2))
    return folder / "run"


def test_a_motion_level(motif: Motif, run: Path, leveled: Path, tmp_path: Path) -> None:
    """Left out it is 5, to the last byte of the file."""
    args = ["--image", run.parent / "0.png", "--prompt", "square number 1", "--steps", "2", "--out"]
    for name, more in (("usual", []), ("5", ["--motion-level", "5"]), ("9", ["--motion-level", "9"])):
        status, _, said = motif("sample", leveled, *args, tmp_path / f"{name}.mp4", *more)
        assert status == 0, said
    assert (tmp_path / "usual.mp4").read_bytes() == (tmp_path / "5.mp4").read_bytes()
    assert not np.array_equal(frames(tmp_path / "5.mp4"), frames(tmp_path / "9.mp4"))
    with av.open(tmp_path / "9.mp4") as video:
        assert video.metadata["motion_level"] == "9"


def test_a_motion_level_that_cannot_be(motif: Motif, run: Path, leveled: Path, tmp_path: Path) -> None:
    args = ["--image", run.parent / "0.png", "--prompt", "x", "--out", tmp_path / "a.mp4", "--motion-level"]
    for model, level, told in (
        (leveled, "0", "--motion-level 0: must be from 1 to 10."),
        (leveled, "11", "--motion-level 11: must be from 1 to 10."),
        (run, "5", "run takes no motion level: leave it out."),
    ):
        status, out, said = motif("sample", model, *args, level)
        assert (status, out) == (2, "")
        assert told in said
        assert "Traceback" not in said
    assert not (tmp_path / "a.mp4").exists()
