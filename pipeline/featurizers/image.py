"""Tokens of a clip's first frame, for models whose image condition is cross-attention."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float, UInt8

from base.gpus import Cost
from base.torch_types import Device, Tensor
from base.weights import Weights
from dataset.parts.schema import Column
from models.encoders.image import CellTokens, identity, tower_shape
from pipeline.featurizers.base import ClipBatch, ClipFeature, ClipFunction
from pipeline.video.geometry import ClipShape


@dataclass(frozen=True)
class ClipImageTokens(ClipFeature):
    """OpenCLIP ViT-H-14 tokens of the last layer, class token first, float16 ``[n d]``."""

    kind: ClassVar[str] = "image"

    weights: Weights = Weights("laion/CLIP-ViT-H-14-laion2B-s32B-b79K")
    architecture: str = "ViT-H-14"
    precision: Literal["float16", "bfloat16", "float32"] = "float16"

    def identity(self) -> dict[str, Any]:
        """Tower, hash of the weights, layer, resize and precision."""
        return identity(self.architecture, self.weights, self.precision)

    def facts(self) -> dict[str, Any]:
        """Where the weights came from."""
        return self.weights.facts()

    def columns(self, shape: ClipShape) -> tuple[Column, ...]:
        """The tokens."""
        tower = tower_shape(self.architecture)
        return (_column((tower.tokens, tower.width), "first frame: class token, patches row by row"),)

    def cost(self, shape: ClipShape) -> Cost:
        """The visual tower's, of one frame."""
        import torch

        from models.encoders.clip_image import ClipImage
        from models.estimate import forward_cost

        with torch.device("meta"):
            tower = ClipImage(self.architecture).eval().to(getattr(torch, self.precision))
            frames = torch.empty(1, shape.height, shape.width, 3, dtype=torch.uint8)
            return forward_cost(lambda: tower(frames), self.precision)

    def load(self, shape: ClipShape, device: Device) -> ClipFunction:
        """The visual tower on a device."""
        import torch

        from models.encoders.clip_image import ClipImage

        tower = ClipImage.load(self.weights, self.architecture, device, getattr(torch, self.precision))
        return _first_frames(tower, device)


@dataclass(frozen=True)
class CellImageTokens(ClipFeature):
    """Cells of pixels and their places, float16 ``[n d]``, for the toy size."""

    kind: ClassVar[str] = "image"

    encoder: CellTokens = CellTokens()

    def identity(self) -> dict[str, Any]:
        """The encoder's sizes."""
        return self.encoder.identity()

    def check(self, shape: ClipShape) -> None:
        """Cells must divide the frame."""
        cell = self.encoder.cell
        if shape.height % cell or shape.width % cell:
            raise ValueError(f"{shape.height} x {shape.width}: these tokens take multiples of their cell, {cell}")

    def columns(self, shape: ClipShape) -> tuple[Column, ...]:
        """The tokens."""
        cell = self.encoder.cell
        tokens = (shape.height // cell) * (shape.width // cell)
        return (_column((tokens, self.encoder.width), "first frame: cells row by row"),)

    def load(self, shape: ClipShape, device: Device) -> ClipFunction:
        """Cells need no weights."""
        return _first_frames(self.encoder.encode, device)


def _column(size: tuple[int, int], about: str) -> Column:
    return Column("tokens", "float16", size, "n d", about=about)


def _first_frames(encode: Callable[[UInt8[Tensor, "b h w 3"]], Float[Tensor, "b n d"]], device: Device) -> ClipFunction:
    """Encode first frames one by one, so that results do not depend on the batch."""
    from pipeline.motion.batching import in_groups

    def compute(batch: ClipBatch) -> dict[str, np.ndarray]:
        first = ClipBatch(batch.frames[:, :1], batch.has_next).tensor(device)[:, 0]  # only these on the device
        return {"tokens": in_groups(lambda frames: encode(frames).half(), first, 1).cpu().numpy()}

    return compute
