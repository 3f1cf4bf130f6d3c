"""Frames, and a network in the place of CLIP and DINO that any package can be given: the means of blocks of pixels."""

from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCK = 56
WIDTH = 3 * (224 // BLOCK) ** 2


def pooled_frames(height: int, width: int, count: int = 6, seed: int = 0) -> np.ndarray:
    """Coarse spots that move to the right by 9 pixels a frame, and darken; the same in every version of NumPy."""
    spots = np.random.default_rng(seed).integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
    picture = spots.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
    return np.stack([np.roll(picture, 9 * at, axis=1) // (1 + at % 3) for at in range(count)])


def pool(images: Tensor) -> Tensor:
    """The mean of each block of each channel; positive and negative, since images are normalised."""
    return functional.avg_pool2d(images, BLOCK).flatten(1)


class AsDino(nn.Module):
    """Called like transformers' ViT."""

    def forward(self, pixel_values: Tensor, interpolate_pos_encoding: bool) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=pool(pixel_values)[:, None])


class AsClip(nn.Module):
    """Called like open_clip's model."""

    def __init__(self) -> None:
        super().__init__()
        mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
        how = {"size": 224, "interpolation": "bicubic", "resize_mode": "shortest", "mean": mean, "std": std}
        self.visual = nn.Module()
        self.visual.preprocess_cfg = how  # type: ignore[assignment]

    def encode_image(self, images: Tensor) -> Tensor:
        return pool(images)

    def encode_text(self, tokens: Tensor) -> Tensor:
        return torch.ones(len(tokens), WIDTH)


def rating_layer() -> tuple[np.ndarray, float]:
    """Weights of an aesthetic predictor."""
    return np.linspace(-1, 2, WIDTH), 5.0


def linear() -> nn.Linear:
    """The same as a layer of torch."""
    layer = nn.Linear(WIDTH, 1)
    weight, bias = rating_layer()
    layer.load_state_dict({"weight": torch.tensor(weight[None], dtype=torch.float32), "bias": torch.tensor([bias])})
    return layer
