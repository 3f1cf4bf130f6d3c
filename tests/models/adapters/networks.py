"""Small networks with weights everywhere, of each backbone, and inputs for them."""

from collections.abc import Callable

import torch
from torch import Tensor

from models.patches.backbone import Patches
from models.video_model import DataShapes, VideoModel, predict
from models.videocrafter2.backbone import VideoCrafter2
from models.wan.backbone import Wan

SHAPES = DataShapes(latent=(4, 4, 8, 8), text=(6, 16), image=(4, 12))
BACKBONES = {
    "unet": VideoCrafter2(
        start="", block_out_channels=(8, 16), layers_per_block=1, attention_head_dim=8, norm_num_groups=4
    ),
    "patches": Patches(width=16, depth=2, heads=2),
    "wan": Wan(heads=2, head_dim=12, layers=2, feed_forward=32),
}


def filled(network: VideoModel, seed: int = 0) -> VideoModel:
    """With random weights instead of zeros, so that every layer has an effect."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=draw)
    return network


def small(kind: str, shapes: DataShapes = SHAPES) -> VideoModel:
    torch.manual_seed(0)
    return filled(BACKBONES[kind].new(shapes)).eval()


def fill_lora(network: VideoModel) -> VideoModel:
    """With B, which begins with zeros, random."""
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ".lora_B." in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=draw))
    return network


def inputs(shapes: DataShapes = SHAPES, *, gradients: bool = False) -> Callable[[VideoModel], Tensor]:
    """A function that runs a network on the same two random inputs each time."""
    draw = torch.Generator().manual_seed(1)
    sample = torch.randn(2, *shapes.latent, generator=draw)
    given = {name: torch.rand(shape, generator=draw) + 1 for name, shape in shapes.conditions(2).items()}

    def run(network: VideoModel) -> Tensor:
        with torch.set_grad_enabled(gradients):
            return predict(network, sample, torch.tensor([30.0, 700.0]), given)

    return run
