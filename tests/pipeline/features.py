"""Features for tests: what a user's own would look like, and what misbehaves."""

import os
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from dataset.parts.schema import Column
from pipeline.featurizers.base import ClipBatch, ClipFeature, ClipFunction
from pipeline.video.geometry import ClipShape


@dataclass(frozen=True)
class Brightness(ClipFeature):
    """The mean brightness of each frame: a whole featurizer in a few lines."""

    kind: ClassVar[str] = "brightness"
    scale: float = 1.0

    def identity(self) -> dict[str, Any]:
        return {"scale": self.scale, "version": 1}

    def columns(self, shape: ClipShape) -> tuple[Column, ...]:
        return (Column("frames", "float32", (shape.frames,), "t"), Column("brightness", "float32"))

    def load(self, shape: ClipShape, device: torch.device) -> ClipFunction:
        def compute(batch: ClipBatch) -> dict[str, np.ndarray]:
            means = batch.frames[:, : shape.frames].mean(axis=(2, 3, 4), dtype=np.float64) * self.scale
            return {"frames": means.astype(np.float32), "brightness": means.mean(1).astype(np.float32)}

        return compute


@dataclass(frozen=True)
class Moody(Brightness):
    """Fails for, returns NaN for, or kills the process at clips of a certain brightness."""

    kind: ClassVar[str] = "moody"
    mood: str = "raises"
    low: float = 0.0
    high: float = 0.0

    def load(self, shape: ClipShape, device: torch.device) -> ClipFunction:
        plain = super().load(shape, device)

        def compute(batch: ClipBatch) -> dict[str, np.ndarray]:
            values = plain(batch)
            struck = (values["brightness"] >= self.low) & (values["brightness"] < self.high)
            if struck.any():
                if self.mood == "kills":
                    os._exit(1)
                if self.mood == "raises":
                    raise RuntimeError("this clip is too bright")
                values["frames"][struck] = np.nan
            return values

        return compute
