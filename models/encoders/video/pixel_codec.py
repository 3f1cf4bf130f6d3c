"""A latent space of videos without weights, for the toy size: the pixel codec's cells, compressed in time.

As a causal video autoencoder, it takes the first frame alone and then ``stride`` frames at a time. Each group goes
through an orthonormal discrete cosine transform along time, cell by cell, of which the lowest ``times`` frequencies are
kept; the first frame counts as a group of equal frames. Encoding and decoding are linear.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from einops import rearrange, repeat
from jaxtyping import Float

from base.torch_types import Tensor
from models.encoders.pixel_codec import PixelCodec
from models.latent_grid import LatentGrid


@dataclass(frozen=True)
class VideoPixelCodec:
    """The codec's settings, which are its identity; ``cell``, ``luma`` and ``chroma`` are those of each frame."""

    stride: int = 4
    times: int = 2
    cell: int = 16
    luma: int = 10
    chroma: int = 3

    def __post_init__(self) -> None:
        """Check the settings."""
        if not 1 <= self.times <= self.stride:
            raise ValueError(f"codec {self}: times must be from 1 to stride")
        PixelCodec(self.cell, self.luma, self.chroma)  # which checks the others

    def identity(self) -> dict[str, Any]:
        """The identity of this codec's latents."""
        sizes = {name: getattr(self, name) for name in ("stride", "times", "cell", "luma", "chroma")}
        return {"encoder": "VideoPixelCodec", **sizes, "version": 1}

    @classmethod
    def of(cls, identity: Mapping[str, Any]) -> "VideoPixelCodec":
        """The codec with this identity."""
        return cls(**{name: identity[name] for name in ("stride", "times", "cell", "luma", "chroma")})

    @property
    def of_frames(self) -> PixelCodec:
        """The codec of a frame."""
        return PixelCodec(self.cell, self.luma, self.chroma)

    @property
    def grid(self) -> LatentGrid:
        """The grid of its latents."""
        return LatentGrid(self.times * self.of_frames.channels, self.stride, self.cell)

    def encode(self, videos: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b c k gh gw"]:
        """Latents of RGB videos in -1 to 1. InputError for numbers of frames or sides that the grid does not divide."""
        import torch

        self.grid.shape(*videos.shape[2:])
        images = rearrange(videos, "b c t h w -> (b t) c h w")
        cells = rearrange(self.of_frames.encode(images), "(b t) c y x -> b c t y x", b=len(videos))
        first = repeat(cells[:, :, 0], "b c y x -> b c s y x", s=self.stride)
        groups = rearrange(torch.cat([first, cells[:, :, 1:]], dim=2), "b c (k s) y x -> b c k s y x", s=self.stride)
        found = torch.einsum("fs,bcksyx->bfckyx", self._waves(groups), groups)
        return rearrange(found, "b f c k y x -> b (f c) k y x").contiguous()

    def decode(self, latents: Float[Tensor, "b c k gh gw"]) -> Float[Tensor, "n 3 h w"]:
        """The frames of clips, clip by clip, RGB in -1 to 1 (clamped), from latents.

        Of the first latent the mean alone counts.
        """
        import torch

        found = rearrange(latents, "b (f c) k y x -> b f c k y x", f=self.times)
        waves = self._waves(latents)
        cells = torch.einsum("fs,bfckyx->bcksyx", waves / waves.square().sum(dim=1, keepdim=True), found)
        rest = rearrange(cells[:, :, 1:], "b c k s y x -> b c (k s) y x")
        frames = torch.cat([found[:, 0, :, :1], rest], dim=2)
        return self.of_frames.decode(rearrange(frames, "b c t y x -> (b t) c y x"))

    def _waves(self, like: Tensor) -> Float[Tensor, "f s"]:
        """The frequencies as rows: first the mean, then cosines, all of one length.

        A clip that moves by a few pixels a frame changes so little within a group that higher frequencies are smaller
        than the mean: so they are not divided by it.
        """
        import torch

        at = torch.arange(self.stride, device=like.device, dtype=torch.float64)
        rows = torch.arange(self.times, device=like.device, dtype=torch.float64)[:, None]
        waves = torch.cos(math.pi * (2 * at + 1) * rows / (2 * self.stride))
        return (waves / waves.square().sum(dim=1, keepdim=True).sqrt() / math.sqrt(self.stride)).to(like)
