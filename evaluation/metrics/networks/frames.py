"""Frames as networks take them: resized, cropped and normalised as torchvision does with float images."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

Filter = Literal["bilinear", "bicubic"]


def resize_short_side(
    frames: UInt8[Tensor, "t h w 3"], side: int, how: Filter, antialias: bool = True
) -> Float[Tensor, "t 3 y x"]:
    """Frames, 0 to 255, whose short side has ``side`` pixels; not rounded, not clamped."""
    height, width = frames.shape[1:3]
    size = (side, int(side * width / height)) if height <= width else (int(side * height / width), side)
    return resize(frames, size, how, antialias)


def resize(
    frames: UInt8[Tensor, "t h w 3"], size: tuple[int, int], how: Filter, antialias: bool = True
) -> Float[Tensor, "t 3 y x"]:
    """Frames, 0 to 255, of this height and width; not rounded, not clamped."""
    images = rearrange(frames, "t h w c -> t c h w").float()
    return functional.interpolate(images, size, mode=how, antialias=antialias)


def crop_centre(images: Float[Tensor, "t 3 h w"], side: int) -> Float[Tensor, "t 3 {side} {side}"]:
    """The square in the middle."""
    top, left = (round((length - side) / 2) for length in images.shape[2:])
    return images[..., top : top + side, left : left + side]


def normalise(
    images: Float[Tensor, "t 3 h w"], mean: Sequence[float], deviation: Sequence[float]
) -> Float[Tensor, "t 3 h w"]:
    """From 0 to 255 to a network's own range, by channel."""
    means, deviations = (images.new_tensor(list(values))[:, None, None] for values in (mean, deviation))
    return (images / 255 - means) / deviations


@torch.inference_mode()
def embed(
    frames: UInt8[np.ndarray, "t h w 3"],
    network: Callable[[UInt8[Tensor, "t h w 3"]], Float[Tensor, "t d"]],
    device: torch.device,
    batch: int,
) -> Float[np.ndarray, "t d"]:
    """What a network computes of each frame, at most ``batch`` frames at a time; float32."""
    rows = [
        network(torch.from_numpy(np.ascontiguousarray(frames[first : first + batch])).to(device)).float().cpu()
        for first in range(0, len(frames), batch)
    ]
    return torch.cat(rows).numpy()
