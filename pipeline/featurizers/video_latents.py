"""Latents of videos that compress time: Wan's autoencoder, or the toy size's codec.

They are stored normalised, as a network takes them: nothing is left to scale when the dataset is read. Frame 0 makes
latent 0, and every further ``stride`` frames one more, so clips have a multiple of the stride plus 1 frames.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from einops import rearrange
from jaxtyping import Float

from base.gpus import Cost
from base.torch_types import Device, Tensor
from base.weights import Weights
from dataset.parts.schema import Column
from models.encoders.autoencoder import read_config
from models.encoders.video.pixel_codec import VideoPixelCodec
from models.encoders.video.wan_autoencoder import WanAutoencoder, grid_of, identity, wan22_config
from models.latent_grid import LatentGrid
from pipeline.featurizers.base import ClipBatch, ClipFeature, ClipFunction, find_base_part
from pipeline.video.geometry import ClipShape


@dataclass(frozen=True)
class WanLatents(ClipFeature):
    """The posterior's mean of diffusers' AutoencoderKLWan, normalised per channel, float16 ``[c t h w]``.

    The variance is not stored: Wan's pipelines take the mean, and so latent 0 is exactly that of the first frame alone,
    which the network is given. Sides are multiples of two cells, the patches of Wan's transformers.
    """

    kind: ClassVar[str] = "latents"

    weights: Weights = Weights("")
    """By default the base model's."""
    precision: Literal["float16", "bfloat16", "float32"] = "float32"

    def identity(self) -> dict[str, Any]:
        """The hash of the weights, with the means and deviations, and the precision."""
        return identity(self.weights, self.precision)

    def resolved(self, base_model: str) -> "WanLatents":
        """With the base model's autoencoder by default."""
        return self if self.weights.source else replace(self, weights=find_base_part(base_model, "vae"))

    def facts(self) -> dict[str, Any]:
        """Source of the weights; latents are already scaled, and compress time."""
        return {**self.weights.facts(), **_facts(self._grid)}

    @property
    def _config(self) -> dict[str, Any]:
        """Of its weights; before it is resolved, that of Wan2.2-TI2V-5B."""
        return read_config(self.weights) if self.weights.source else wan22_config()

    @property
    def _grid(self) -> LatentGrid:
        return grid_of(self._config)

    def check(self, shape: ClipShape) -> None:
        """InputError if the grid does not divide the frames or their sides."""
        self._grid.shape(shape.frames, shape.height, shape.width)

    def columns(self, shape: ClipShape) -> tuple[Column, ...]:
        """The latent."""
        return _columns(self._grid, shape, "posterior mean, normalised per channel")

    def cost(self, shape: ClipShape) -> Cost:
        """The encoder's, of one clip."""
        import torch

        from models.estimate import forward_cost

        encoder = WanAutoencoder.new(self._config, torch.device("meta"), getattr(torch, self.precision))
        video = torch.empty(1, 3, shape.frames, shape.height, shape.width, device="meta")
        return forward_cost(lambda: encoder.encode(video), self.precision)

    def load(self, shape: ClipShape, device: Device) -> ClipFunction:
        """Encode clip by clip; the encoder itself takes a latent's frames at a time."""
        import torch

        encoder = WanAutoencoder.load(self.weights, device, getattr(torch, self.precision))
        return _one_by_one(encoder.encode, shape, device)


@dataclass(frozen=True)
class VideoPixelLatents(ClipFeature):
    """Latents of the weight-free codec of videos, float16 ``[c t h w]``."""

    kind: ClassVar[str] = "latents"

    codec: VideoPixelCodec = VideoPixelCodec()

    def identity(self) -> dict[str, Any]:
        """The codec's choices."""
        return self.codec.identity()

    def facts(self) -> dict[str, Any]:
        """Latents are already scaled, and compress time."""
        return _facts(self.codec.grid)

    def check(self, shape: ClipShape) -> None:
        """InputError if the grid does not divide the frames or their sides."""
        self.codec.grid.shape(shape.frames, shape.height, shape.width)

    def columns(self, shape: ClipShape) -> tuple[Column, ...]:
        """The latent."""
        return _columns(self.codec.grid, shape, "video pixel codec latent")

    def load(self, shape: ClipShape, device: Device) -> ClipFunction:
        """Encode clip by clip, so that results do not depend on the batch."""
        return _one_by_one(self.codec.encode, shape, device)


def _facts(grid: LatentGrid) -> dict[str, Any]:
    return {"scaling_factor": 1.0, "stride": grid.stride}


def _columns(grid: LatentGrid, shape: ClipShape, about: str) -> tuple[Column, ...]:
    size = grid.shape(shape.frames, shape.height, shape.width)
    return (Column("mean", "float16", size, "c t h w", about=about),)


def _one_by_one(
    encode: Callable[[Float[Tensor, "b 3 t h w"]], Float[Tensor, "b c k y x"]], shape: ClipShape, device: Device
) -> ClipFunction:
    """Encode each clip by itself, so that results do not depend on the batch; only one is on the device in float32."""
    import torch

    from pipeline.motion.batching import in_groups

    def one(frames: Tensor) -> Float[Tensor, "n c k y x"]:
        return encode(rearrange(frames, "n t h w c -> n c t h w").float() / 127.5 - 1).half()

    @torch.inference_mode()
    def compute(batch: ClipBatch) -> dict[str, np.ndarray]:
        return {"mean": in_groups(one, batch.tensor(device)[:, : shape.frames], 1).cpu().numpy()}

    return compute
