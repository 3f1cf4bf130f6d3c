"""Small U-Nets, and the golden one of tests/golden."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from models.videocrafter2.names import unet_names
from models.videocrafter2.unet import VideoUNet

GOLDEN = Path(__file__).parents[2] / "golden"
SMALL: dict[str, Any] = {
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "cross_attention_dim": 16,
    "attention_head_dim": 8,
    "norm_num_groups": 4,
    "image_token_width": 12,
    "image_tokens": 3,
}


def small(**changes: Any) -> VideoUNet:
    torch.manual_seed(0)
    return VideoUNet(**SMALL | changes)


def conditions(model: VideoUNet, batch: int = 2, frames: int = 3) -> dict[str, Tensor]:
    """Random inputs of all that a small model takes."""
    draw = torch.Generator().manual_seed(1)
    given = {
        "sample": torch.randn(batch, 4, frames, 8, 8, generator=draw),
        "timestep": torch.tensor([17, 801])[:batch],
        "text": torch.randn(batch, 5, 16, generator=draw),
        "fps": torch.tensor([8, 24])[:batch],
    }
    if model.concatenates:
        given["image_latent"] = torch.randn(batch, 4, 8, 8, generator=draw)
    if model.resampler is not None:
        given["image_tokens"] = torch.randn(batch, 7, 12, generator=draw)
    if model.takes_motion_level:
        given["motion_level"] = torch.tensor([2.0, 9.0])[:batch]
    return given


def sizes(folder: Path, name: str) -> dict[str, Any]:
    """The constructor's arguments of a reference model."""
    config = json.loads((folder / f"{name}_config.json").read_text())["diffusers_config"]
    wanted = ("block_out_channels", "layers_per_block", "cross_attention_dim", "attention_head_dim")
    return {"image_condition": "none", **{key: config[key] for key in wanted}}


def original_tensors(folder: Path, name: str) -> dict[str, Tensor]:
    """A reference model's tensors, float32, under the original implementation's names."""
    return {key: tensor.float() for key, tensor in load_file(folder / f"{name}_unet.safetensors").items()}


def reference(folder: Path, name: str) -> VideoUNet:
    """A reference model as the original implementation has it."""
    model = VideoUNet(**sizes(folder, name)).eval()
    state = model.state_dict()
    ours = unet_names(state, model.config.layers_per_block)
    tensors = original_tensors(folder, name)
    model.load_state_dict({ours[key]: tensor.reshape(state[ours[key]].shape) for key, tensor in tensors.items()})
    return model


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())
