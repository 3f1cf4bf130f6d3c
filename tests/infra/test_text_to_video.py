"""Text to video from a dataset to a served video, with the commands that a user runs."""

import json
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from models.find import find_candidates
from serving.generate.describe import describe
from serving.settings import Settings
from tests.serving.server import serve

Motif = Callable[..., tuple[int, str, str]]


def frames(path: Path) -> np.ndarray:
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.slow
def test_a_toy_is_trained_sampled_and_served_without_a_picture(
    motif: Motif, sprites_dataset: Path, tmp_path: Path
) -> None:
    """The server's video is that of `motif sample`; a model of pictures then starts where the training ended."""
    run = tmp_path / "run"
    train = ["--data", sprites_dataset, "--samples.num", 1, "--samples.steps", 2]
    for steps in (4, 6):  # the second command goes on
        status, out, said = motif("train", "sprites_t2v", *train, "--out", run, "--steps", steps)
        assert (status, json.loads(out)["step"]) == (0, steps), said
    losses = [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 6
    assert np.isfinite(losses).all()
    options = ["--prompt", "the star moves right", "--seed", 5, "--out"]
    status, _, said = motif("sample", run, *options, tmp_path / "sampled.mp4")
    assert status == 0, said
    (found,) = find_candidates([str(run)])
    served = describe("words", str(found.folder.path))
    with serve([served], Settings(folder=str(tmp_path / "served"))) as server:
        status, out, said = motif("generate", "--url", server.url, *options, tmp_path / "served.mp4")
        assert (status, json.loads(out)["model"]) == (0, "words"), said
    sampled = frames(tmp_path / "sampled.mp4")
    assert sampled.shape == (8, 128, 128, 3)
    np.testing.assert_array_equal(sampled, frames(tmp_path / "served.mp4"))
    pictures = tmp_path / "pictures"
    start = ["--network.start", found.folder.path, "--out", pictures, "--steps", 1]
    status, _, said = motif("train", "sprites", *train, *start)
    assert status == 0, said
    first, last = pictures / "samples/step-00000000/00.mp4", run / "samples/step-00000006/00.mp4"
    assert first.read_bytes() == last.read_bytes()
