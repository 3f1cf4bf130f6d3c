"""From a checkpoint to a sampled video by the commands of the docs, with their defaults: the parts fit together."""

import json
from pathlib import Path

import pytest
import torch

from models.videocrafter2.convert import Sizes, convert, targets
from tests.infra.conftest import Motif

# VideoCrafter2's structure, narrow: four levels in U-Net and autoencoder, a text tower of another OpenCLIP.
TOWER, WIDTH = "ViT-S-32-alt", 256
NARROW = Sizes(
    unet={
        "block_out_channels": (32,) * 4,
        "layers_per_block": 1,
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 32,
    },
    vae_widths=(8, 8, 8, 8),
    vae_groups=4,
    text=TOWER,
)
TEXT = ["--features.text.architecture", TOWER, "--features.text.width", WIDTH]
# A CPU is twenty times slower in float16.
FLOAT32 = [f"--features.{name}.precision=float32" for name in ("heatmaps.flow", "latents", "text")]
ONE_STEP = [
    *("--steps", "2", "--batch", "1", "--hardware.workers", "0", "--hardware.micro-batch", "1"),
    *("--hardware.precision", "float32", "--samples.every", "0"),
]


def checkpoint(path: Path, seed: int) -> Path:
    """Random tensors under the names and in the shapes of VideoCrafter2's checkpoint."""
    draw = torch.Generator().manual_seed(seed)
    shapes = {name: shape for target in targets(NARROW).values() for name, shape in target.shapes.items()}
    tensors = {name: 0.05 * torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    torch.save({"state_dict": tensors}, path)
    return path


def raft(path: Path) -> Path:
    from torchvision.models.optical_flow import raft_small

    torch.manual_seed(0)
    torch.save(raft_small(weights=None).state_dict(), path)
    return path


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_checkpoint_to_video_with_the_defaults(
    motif: Motif, ray_cluster: None, sprites_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flow = ["--features.heatmaps.flow.size", "small", "--features.heatmaps.flow.updates", "1"]
    flow += ["--features.heatmaps.flow.clips-a-batch", "1"]  # a group is filled up with copies
    flow += ["--features.heatmaps.flow.weights.source", raft(tmp_path / "raft.pth"), *TEXT, *FLOAT32]
    asked = ["--manifest", sprites_folder / "manifest.csv", "--out", tmp_path / "data", "--limit", "1"]
    status, _, said = motif("preprocess", "motif", *asked, *flow)
    assert status == 2
    assert "motif fetch videocrafter2 --out weights/videocrafter2" in said  # the base model is missing

    convert(checkpoint(tmp_path / "model.ckpt", 0), Path("weights/videocrafter2"), NARROW)
    status, out, said = motif("preprocess", "motif", *asked, *flow)
    assert status == 0, said
    assert json.loads(out)["written"] == 1
    status, out, said = motif("train", "motif", "--data", "data", "--dry-run")
    assert status == 0, said
    assert "1 clips" in said or "1 clip" in said
    status, out, said = motif("train", "motif", "--data", "data", "--out", "run", *ONE_STEP)
    assert status == 0, said
    assert json.loads(out)["step"] == 2
    status, out, said = motif(
        *("sample", "run", "--image", sprites_folder / "videos" / "000000.mp4", "--prompt", "a star"),
        *("--steps", "1", "--out", "star.mp4"),
    )
    assert status == 0, said
    assert Path("star.mp4").stat().st_size > 0

    convert(checkpoint(tmp_path / "other.ckpt", 1), Path("weights/other"), NARROW)
    status, _, said = motif("train", "motif", "--data", "data", "--dry-run", "--base-model", "weights/other")
    assert status == 2
    assert said.count("\n") == 1
    assert "weights/other/vae (blake3:" in said
    assert f"{tmp_path}/weights/videocrafter2/vae (blake3:" in said
