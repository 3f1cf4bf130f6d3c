"""A latent space without weights, for the toy size: the lowest frequencies of each block of pixels.

Each ``cell`` x ``cell`` block of a YCbCr frame goes through an orthonormal discrete cosine transform; the lowest
``luma`` frequencies of Y and ``chroma`` of Cb and Cr are kept, each divided by its typical magnitude so that all
channels have about unit deviation. 256 x 256 pixels become 16 x 16 cells of 16 channels; decoding gives a blurred but
recognisable picture. Encoding and decoding are linear, so errors in latents translate directly to pixels.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from einops import rearrange
from jaxtyping import Float

from base.torch_types import Device, Dtype, Tensor

# BT.601, full range, for RGB in -1 to 1.
_TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


@dataclass(frozen=True)
class PixelCodec:
    """The codec's settings, which are its identity."""

    cell: int = 16
    luma: int = 10
    chroma: int = 3

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.cell < 2 or not 1 <= self.luma <= self.cell**2 or not 1 <= self.chroma <= self.cell**2:
            raise ValueError(f"codec {self}: cell must be at least 2, luma and chroma from 1 to cell * cell")

    def identity(self) -> dict[str, Any]:
        """The identity of this codec's latents."""
        return {"encoder": "PixelCodec", "cell": self.cell, "luma": self.luma, "chroma": self.chroma, "version": 1}

    @classmethod
    def of(cls, identity: Mapping[str, Any]) -> "PixelCodec":
        """The codec with this identity."""
        return cls(**{name: identity[name] for name in ("cell", "luma", "chroma")})

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return self.luma + 2 * self.chroma

    def encode(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c gh gw"]:
        """Latents of RGB images in -1 to 1; height and width divisible by ``cell``."""
        import torch

        h, w = images.shape[-2:]
        if h % self.cell or w % self.cell:
            raise ValueError(f"image of {h} x {w}: sides must be divisible by the cell, {self.cell}")
        basis, spread = _basis(self, images.device, images.dtype)
        ycbcr = torch.einsum("dc,bchw->bdhw", _to_ycbcr().to(images), images)
        blocks = rearrange(ycbcr, "b c (y p) (x q) -> b c y x (p q)", p=self.cell, q=self.cell)
        kept = [blocks[:, plane] @ basis[: self.luma if plane == 0 else self.chroma].T for plane in range(3)]
        return rearrange(torch.cat(kept, dim=-1) / spread, "b y x c -> b c y x").contiguous()

    def decode(self, latents: Float[Tensor, "b c gh gw"]) -> Float[Tensor, "b 3 h w"]:
        """RGB images in -1 to 1 (clamped) from latents."""
        import torch

        basis, spread = _basis(self, latents.device, latents.dtype)
        values = rearrange(latents, "b c y x -> b y x c") * spread
        planes = torch.split(values, [self.luma, self.chroma, self.chroma], dim=-1)
        blocks = torch.stack([plane @ basis[: plane.shape[-1]] for plane in planes], dim=1)
        ycbcr = rearrange(blocks, "b c y x (p q) -> b c (y p) (x q)", p=self.cell)
        return torch.einsum("dc,bchw->bdhw", torch.linalg.inv(_to_ycbcr()).to(latents), ycbcr).clamp(-1, 1)


def _to_ycbcr() -> Float[Tensor, "3 3"]:
    import torch

    return torch.tensor(_TO_YCBCR, dtype=torch.float64, device="cpu")


@lru_cache(maxsize=16)
def _basis(codec: PixelCodec, device: Device, dtype: Dtype) -> tuple[Tensor, Tensor]:
    """The lowest frequencies as rows ``[max(luma, chroma), cell * cell]``, and the magnitude of each channel."""
    import torch

    size = codec.cell
    k = torch.arange(size, dtype=torch.float64)
    wave = torch.cos(math.pi * (2 * k[None] + 1) * k[:, None] / (2 * size)) * math.sqrt(2 / size)
    wave[0] = math.sqrt(1 / size)
    order = sorted(((u, v) for u in range(size) for v in range(size)), key=lambda f: (f[0] ** 2 + f[1] ** 2, f))
    count = max(codec.luma, codec.chroma)
    basis = torch.stack([torch.outer(wave[u], wave[v]).flatten() for u, v in order[:count]])
    # Natural spectra fall with one over the frequency; in moving sprites the mean of a block has a deviation of 0.22
    # in luma and 0.085 in chroma, for a range of 2. This only sets the scale of the latent space.
    fall = torch.tensor([1 / (1 + 2 * math.hypot(u, v)) for u, v in order[:count]], dtype=torch.float64)
    luma, chroma = 0.22 * size * fall[: codec.luma], 0.085 * size * fall[: codec.chroma]
    spread = torch.cat([luma, chroma, chroma])
    return basis.to(device, dtype), spread.to(device, dtype)
