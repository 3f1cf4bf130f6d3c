"""Tokens of an image for cross-attention: cells of pixels, which need no weights; the identity of OpenCLIP's tokens.

OpenCLIP's visual tower itself is in :mod:`models.encoders.clip_image`. This file loads no torch before it computes, so
that a plan can do without.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from einops import rearrange, repeat
from jaxtyping import Float, UInt8

from base.errors import InputError
from base.torch_types import Device, Tensor
from base.weights import LocalWeights, Weights
from models.encoders import open_clip_weights
from models.encoders.pixel_codec import PixelCodec

PURPOSE = "image encoder"
"""What messages call it."""
_TOWER = ("visual.",)  # prefix of its tensors' names


@dataclass(frozen=True)
class CellTokens:
    """One token per block of pixels, without weights: the block's content, then its position.

    The first channels are the pixel codec's of a ``cell`` x ``cell`` block, the mean colour and the lowest frequencies,
    scaled to about unit deviation. The last ``place`` channels are sines and cosines of the block's row and column,
    concatenated instead of added, so that a linear layer can separate content from position.
    """

    cell: int = 32
    place: int = 16

    def __post_init__(self) -> None:
        """Check the sizes."""
        if self.cell < 4 or self.place < 4 or self.place % 4:
            raise ValueError(f"cell {self.cell}, place {self.place}: cell must be at least 4, place a multiple of 4")

    def identity(self) -> dict[str, Any]:
        """The identity of this encoder's tokens."""
        codec = self.codec
        sizes = {"cell": codec.cell, "luma": codec.luma, "chroma": codec.chroma, "place": self.place}
        return {"encoder": "CellTokens", **sizes, "version": 1}

    @classmethod
    def of(cls, identity: Mapping[str, Any]) -> "CellTokens":
        """The encoder with this identity."""
        return cls(identity["cell"], identity["place"])

    @property
    def codec(self) -> PixelCodec:
        """The codec that turns a block into channels."""
        return PixelCodec(self.cell)

    @property
    def width(self) -> int:
        """Channels of a token."""
        return self.codec.channels + self.place

    def encode(self, frames: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b l d"]:
        """Tokens of RGB frames, row by row; height and width divisible by ``cell``."""
        import torch

        images = rearrange(frames, "b h w c -> b c h w").float() / 127.5 - 1
        cells = rearrange(self.codec.encode(images), "b c y x -> b y x c")
        b, y, x, _ = cells.shape
        rows = repeat(self._sinusoid(y, cells.device), "y d -> b y x d", b=b, x=x)
        columns = repeat(self._sinusoid(x, cells.device), "x d -> b y x d", b=b, y=y)
        return rearrange(torch.cat([cells, rows, columns], dim=-1), "b y x d -> b (y x) d")

    def _sinusoid(self, count: int, device: Device) -> Float[Tensor, "n d"]:
        import torch

        frequencies = self.place // 4
        slowing = 100 ** (torch.arange(frequencies, device=device) / frequencies)
        angles = torch.arange(count, device=device)[:, None] / slowing
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


@dataclass(frozen=True)
class TowerShape:
    """The side of a visual tower's input in pixels, and the number and width of its output tokens."""

    side: int
    tokens: int
    width: int


def tower_shape(architecture: str) -> TowerShape:
    """The sizes of an open_clip architecture's visual tower, without building it.

    InputError if open_clip has no such architecture, or its tower is not a vision transformer.
    """
    import open_clip

    found = open_clip.get_model_config(architecture)
    vision = open_clip.CLIPVisionCfg(**found["vision_cfg"]) if found else None
    if vision is None or vision.timm_model_name or not isinstance(vision.layers, int):
        raise InputError(
            f"{PURPOSE}: architecture '{architecture}' is not one of open_clip's vision transformers. Use one such as "
            "ViT-H-14."
        )
    return TowerShape(vision.image_size, (vision.image_size // vision.patch_size) ** 2 + 1, vision.width)


def find(weights: Weights, *, download: bool = True) -> LocalWeights:
    """The checkpoint file on this machine."""
    return open_clip_weights.find(weights, PURPOSE, download=download)


def weights_hash(weights: Weights, *, download: bool = True) -> str:
    """The hash of the visual tower's tensors."""
    return open_clip_weights.tower_hash(find(weights, download=download), _TOWER)


def identity(architecture: str, weights: Weights, precision: str) -> dict[str, Any]:
    """The identity of a visual tower's tokens: weights by their tensors, layer, resize and precision."""
    return {
        "encoder": architecture,
        "weights_tensors": weights_hash(weights),
        "layer": "last, before the final norm",
        "resize": "bicubic antialiased, whole frame to a square",
        "precision": precision,
        "version": 1,
    }
