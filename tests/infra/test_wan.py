"""Wan at toy size from videos to a served video, with the commands that a user runs."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from base.storage.folder import Folder
from dataset.heatmap.heatmap import latent_heatmap
from dataset.heatmap.normalisation import Normalisation
from dataset.reading import FeatureReader
from models.encoders.video.pixel_codec import VideoPixelCodec
from models.find import find_candidates
from pipeline.recipes import wan_sprites
from pipeline.sprites.files import write_sprites
from pipeline.sprites.world import World
from serving.generate.describe import describe
from serving.settings import Settings
from tests.serving.server import serve
from training.data.artifacts import Artifacts
from training.data.order import Place
from training.data.source import Source

Motif = Callable[..., tuple[int, str, str]]


def frames(path: Path) -> np.ndarray:
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.slow
def test_videos_become_a_model_that_is_sampled_and_served(
    motif: Motif, preprocess: Callable[..., object], tmp_path: Path
) -> None:
    """Preprocessed, trained in two parts, sampled; the server's video is that of `motif sample`."""
    manifest = write_sprites(tmp_path / "videos", World(128, 128), 6, seed=0)
    data, run = tmp_path / "data", tmp_path / "run"
    preprocess(manifest, data, replace(wan_sprites(), height=128, width=128))
    check_heatmaps(data)

    train = ("train", "wan_sprites", "--data", data, "--out", run, "--samples.num", 1, "--samples.steps", 2)
    status, _, said = motif(*train, "--dry-run")
    assert (status, "latents (32, 5, 8, 8)" in said, "memory" in said) == (0, True, True), said
    for steps in (3, 5):  # the second command goes on
        status, out, said = motif(*train, "--steps", steps)
        assert (status, json.loads(out)["step"]) == (0, steps), said
    assert frames(run / "samples" / "step-00000005" / "00.mp4").shape == (17, 128, 256, 3)

    picture = tmp_path / "videos" / "videos" / "000003.mp4"
    options = ["--image", picture, "--prompt", "the star moves right", "--seed", 5, "--out"]
    status, _, said = motif("sample", run, *options, tmp_path / "sampled.mp4", "--steps", 2)
    assert status == 0, said
    sampled = frames(tmp_path / "sampled.mp4")
    assert sampled.shape == (17, 128, 128, 3)
    given, codec = torch.from_numpy(frames(picture)[:1]).permute(0, 3, 1, 2).float() / 127.5 - 1, VideoPixelCodec()
    first = (codec.decode(codec.encode(given[:, :, None]))[0].permute(1, 2, 0).numpy() + 1) * 127.5
    assert np.abs(sampled[0] - first).mean() < 5  # what compressing the video loses
    (found,) = find_candidates([str(run)])
    with serve([describe("wan", str(found.folder.path))], Settings(folder=str(tmp_path / "served"))) as server:
        command = ("generate", "--url", server.url, *options, tmp_path / "served.mp4", "--steps", 2)
        status, out, said = motif(*command)
        assert (status, json.loads(out)["model"]) == (0, "wan"), said
    np.testing.assert_array_equal(sampled, frames(tmp_path / "served.mp4"))


def check_heatmaps(data: Path) -> None:
    """Latents of four frames have the motion of these: dark in the first one, and where nothing moves in any frame."""
    source = Source(str(data), Artifacts())
    reader = FeatureReader(Folder(str(data)), ("heatmaps",), ("fps",))
    plain = {sample["clip_id"]: sample for group in reader.groups for sample in reader.read(group)}
    samples = [source.read(Place(group, int(row))) for group, rows in enumerate(source.rows) for row in rows]
    assert len(samples) == 6
    for sample in samples:
        assert sample["mean"].shape == (32, 5, 8, 8)
        found, each = sample["heatmap"], plain[sample["clip_id"]]
        cells = (each[f"heatmaps/{name}"][None] for name in ("intensity", "intensity_max"))
        expected = latent_heatmap(Normalisation(), *cells, (128, 128), 4, np.array([each["fps"]]))[0]
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)
        assert not found[0].any()
        moving = each["heatmaps/heatmap"][1:].reshape(4, 4, 8, 8).max(axis=1)
        assert found[1:][moving < 3].max() < 0.1
    assert max(sample["heatmap"].max() for sample in samples) > 0.5
