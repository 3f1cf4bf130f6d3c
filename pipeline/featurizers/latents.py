"""Latents of every frame: the posterior of the base model's autoencoder, or the toy size's pixel codec.

The posterior's mean and log-variance are stored unscaled. Sampling and scaling happen when
the dataset is read.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from einops import rearrange
from jaxtyping import Float

from base.gpus import Cost
from base.torch_types import Device, Tensor
from base.weights import Weights
from dataset.parts.schema import Column
from models.encoders.autoencoder import Autoencoder, base_config, identity, read_config
from models.encoders.pixel_codec import PixelCodec
from pipeline.featurizers.base import ClipBatch, ClipFeature, ClipFunction, find_base_part
from pipeline.video.geometry import ClipShape


@dataclass(frozen=True)
class VaeLatents(ClipFeature):
    """Posterior mean and log-variance of diffusers' AutoencoderKL, float16 ``[c t h w]``."""

    kind: ClassVar[str] = "latents"

    weights: Weights = Weights("")
    """By default the base model's."""
    precision: Literal["float16", "bfloat16", "float32"] = "float16"

    def identity(self) -> dict[str, Any]:
        """The hash of the weights and the precision; their source does not change the values."""
        return identity(self.weights, self.precision)

    def resolved(self, base_model: str) -> "VaeLatents":
        """With the base model's autoencoder by default."""
        return self if self.weights.source else replace(self, weights=find_base_part(base_model, "vae"))

    def facts(self) -> dict[str, Any]:
        """Source of the weights and the factor by which a model's input is scaled."""
        return {**self.weights.facts(), "scaling_factor": self._config()["scaling_factor"]}

    def check(self, shape: ClipShape) -> None:
        """The encoder halves the picture once a level."""
        cell = self._cell(self._config())
        if shape.height % cell or shape.width % cell:
            raise ValueError(f"{shape.height} x {shape.width}: this autoencoder takes multiples of {cell}")

    def _config(self) -> dict[str, Any]:
        """Of its weights; before it is resolved, the base model's."""
        return read_config(self.weights) if self.weights.source else base_config()

    def _cell(self, config: dict[str, Any]) -> int:
        return int(2 ** (len(config["block_out_channels"]) - 1))

    def columns(self, shape: ClipShape) -> tuple[Column, ...]:
        """Mean and log-variance."""
        config = self._config()
        cell = self._cell(config)
        size = (config["latent_channels"], shape.frames, shape.height // cell, shape.width // cell)
        return (
            Column("mean", "float16", size, "c t h w", about="posterior mean, unscaled"),
            Column("logvar", "float16", size, "c t h w", about="posterior log-variance, unscaled"),
        )

    def cost(self, shape: ClipShape) -> Cost:
        """The encoder's, frame by frame."""
        import torch

        from models.estimate import forward_cost

        encoder = Autoencoder.new(self._config(), torch.device("meta"), getattr(torch, self.precision))
        images = torch.empty(shape.frames, 3, shape.height, shape.width, device="meta")
        return forward_cost(lambda: encoder.posterior(images), self.precision)

    def load(self, shape: ClipShape, device: Device) -> ClipFunction:
        """Encode clip by clip: one clip fills the device, and some kernels round differently in larger batches."""
        import torch

        from pipeline.motion.batching import in_groups

        encoder = Autoencoder.load(self.weights, device, getattr(torch, self.precision))

        def one(frames: Tensor) -> Float[Tensor, "n m c t h w"]:
            images = rearrange(frames, "n t h w c -> (n t) c h w").float() / 127.5 - 1
            parts = torch.stack(encoder.posterior(images), dim=1)
            return rearrange(parts, "(n t) m c h w -> n m c t h w", t=shape.frames).half()

        def compute(batch: ClipBatch) -> dict[str, np.ndarray]:
            parts = in_groups(one, batch.tensor(device)[:, : shape.frames], 1).cpu().numpy()
            return {"mean": np.ascontiguousarray(parts[:, 0]), "logvar": np.ascontiguousarray(parts[:, 1])}

        return compute


@dataclass(frozen=True)
class PixelLatents(ClipFeature):
    """Latents of the weight-free pixel codec, float16 ``[c t h w]``; it has no variance to store."""

    kind: ClassVar[str] = "latents"

    codec: PixelCodec = PixelCodec()

    def identity(self) -> dict[str, Any]:
        """The codec's choices."""
        return self.codec.identity()

    def facts(self) -> dict[str, Any]:
        """Latents are already scaled."""
        return {"scaling_factor": 1.0}

    def check(self, shape: ClipShape) -> None:
        """Cells must divide the frame."""
        cell = self.codec.cell
        if shape.height % cell or shape.width % cell:
            raise ValueError(f"{shape.height} x {shape.width}: the pixel codec takes multiples of its cell, {cell}")

    def columns(self, shape: ClipShape) -> tuple[Column, ...]:
        """The latent."""
        cell = self.codec.cell
        size = (self.codec.channels, shape.frames, shape.height // cell, shape.width // cell)
        assert math.prod(size)
        return (Column("mean", "float16", size, "c t h w", about="pixel codec latent"),)

    def load(self, shape: ClipShape, device: Device) -> ClipFunction:
        """Encode clip by clip, so that results do not depend on the batch."""
        import torch

        from pipeline.motion.batching import in_groups

        def one(frames: Tensor) -> Float[Tensor, "n c t h w"]:
            images = rearrange(frames, "n t h w c -> (n t) c h w").float() / 127.5 - 1
            return rearrange(self.codec.encode(images), "(n t) c h w -> n c t h w", t=shape.frames).half()

        @torch.inference_mode()
        def compute(batch: ClipBatch) -> dict[str, np.ndarray]:
            return {"mean": in_groups(one, batch.tensor(device)[:, : shape.frames], 1).cpu().numpy()}

        return compute
