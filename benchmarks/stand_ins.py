"""Features that cost next to nothing, for benchmarks of all that surrounds them: the kinds and axes of real ones."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from dataset.parts.schema import Column
from pipeline.featurizers.base import ClipBatch, ClipFeature, ClipFunction, TextFeature, TextFunction
from pipeline.video.geometry import ClipShape

CELL = 16
_CHANNELS = 4
_STATES = (2, 4)


def _grid(shape: ClipShape) -> tuple[int, int, int]:
    return (shape.frames, shape.height // CELL, shape.width // CELL)


@dataclass(frozen=True)
class GreyLatents(ClipFeature):
    """One pixel of each cell, in four channels."""

    kind: ClassVar[str] = "latents"

    def identity(self) -> dict[str, Any]:
        """A stand-in."""
        return {"stand_in": "latents"}

    def facts(self) -> dict[str, Any]:
        """What training asks of latents."""
        return {"scaling_factor": 1.0}

    def columns(self, shape: ClipShape) -> tuple[Column, ...]:
        """The latent."""
        return (Column("mean", "float16", (_CHANNELS, *_grid(shape)), "c t h w"),)

    def load(self, shape: ClipShape, device: torch.device) -> ClipFunction:
        """No model."""

        def compute(batch: ClipBatch) -> dict[str, np.ndarray]:
            pixels = batch.frames[:, : shape.frames, ::CELL, ::CELL, 0].astype(np.float16) / 256
            return {"mean": np.repeat(pixels[:, None], _CHANNELS, axis=1)}

        return compute


@dataclass(frozen=True)
class GreyHeatmaps(ClipFeature):
    """One pixel of each cell as a heatmap, and their mean as a score."""

    kind: ClassVar[str] = "heatmaps"

    def identity(self) -> dict[str, Any]:
        """A stand-in."""
        return {"stand_in": "heatmaps"}

    def columns(self, shape: ClipShape) -> tuple[Column, ...]:
        """The heatmap and its mean."""
        heatmap = Column("heatmap", "uint8", _grid(shape), "t h w", 1 / 255)
        return (heatmap, Column("mean_intensity", "float32"))

    def load(self, shape: ClipShape, device: torch.device) -> ClipFunction:
        """No model."""

        def compute(batch: ClipBatch) -> dict[str, np.ndarray]:
            pixels = np.ascontiguousarray(batch.frames[:, : shape.frames, ::CELL, ::CELL, 0])
            return {"heatmap": pixels, "mean_intensity": pixels.mean(axis=(1, 2, 3), dtype=np.float32) / 255}

        return compute


@dataclass(frozen=True)
class LengthText(TextFeature):
    """The length of a caption."""

    kind: ClassVar[str] = "text"

    def identity(self) -> dict[str, Any]:
        """A stand-in."""
        return {"stand_in": "text"}

    def columns(self, shape: ClipShape) -> tuple[Column, ...]:
        """The states."""
        return (Column("states", "float16", _STATES, "l d"),)

    def load(self, device: torch.device) -> TextFunction:
        """No model."""

        def compute(captions: list[str]) -> dict[str, np.ndarray]:
            lengths = np.array([len(caption) for caption in captions], np.float16)
            return {"states": np.broadcast_to(lengths[:, None, None], (len(captions), *_STATES)).copy()}

        return compute
