"""Text states of captions, stored once for each caption."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from base.gpus import Cost
from base.torch_types import Device
from base.weights import Weights
from dataset.parts.schema import Column
from models.encoders.text import CONTEXT_LENGTH, HashedText, identity
from pipeline.featurizers.base import TextFeature, TextFunction, find_base_part
from pipeline.video.geometry import ClipShape

_GROUP = 32  # fixed number of captions per forward pass, so that a caption's states do not depend on the others


@dataclass(frozen=True)
class ClipTextStates(TextFeature):
    """OpenCLIP ViT-H-14 penultimate states of all 77 positions, float16."""

    kind: ClassVar[str] = "text"

    weights: Weights = Weights("")
    """By default the base model's."""
    architecture: str = "ViT-H-14"
    width: int = 1024
    precision: Literal["float16", "bfloat16", "float32"] = "float16"

    def identity(self) -> dict[str, Any]:
        """Tower, hash of the weights, layer, padding and precision."""
        return identity(self.architecture, self.weights, self.precision)

    def resolved(self, base_model: str) -> "ClipTextStates":
        """With the base model's text encoder by default."""
        return self if self.weights.source else replace(self, weights=find_base_part(base_model, "text_encoder"))

    def facts(self) -> dict[str, Any]:
        """Where the weights came from."""
        return self.weights.facts()

    def columns(self, shape: ClipShape) -> tuple[Column, ...]:
        """The states."""
        return (Column("states", "float16", (CONTEXT_LENGTH, self.width), "l d", about="penultimate text states"),)

    def cost(self, shape: ClipShape) -> Cost:
        """The text tower's, in groups as captions are encoded."""
        import torch

        from models.encoders.clip_text import ClipText
        from models.estimate import forward_cost

        with torch.device("meta"):
            tower = ClipText(self.architecture).eval().to(getattr(torch, self.precision))
            tokens = torch.empty(_GROUP, CONTEXT_LENGTH, dtype=torch.long)
            return forward_cost(lambda: tower(tokens), self.precision).times(1 / _GROUP)

    def load(self, device: Device) -> TextFunction:
        """The text tower on a device."""
        import torch

        from models.encoders.clip_text import ClipText

        encoder = ClipText.load(self.weights, self.architecture, device, getattr(torch, self.precision))

        def compute(captions: list[str]) -> dict[str, np.ndarray]:
            groups = []
            for i in range(0, len(captions), _GROUP):
                group = captions[i : i + _GROUP]
                tokens = encoder.tokens(group + [""] * (_GROUP - len(group)))
                groups.append(encoder(tokens)[: len(group)].half().cpu().numpy())
            return {"states": np.concatenate(groups)}

        return compute


@dataclass(frozen=True)
class HashedTextStates(TextFeature):
    """States of hashed words, float16, for the toy size."""

    kind: ClassVar[str] = "text"

    encoder: HashedText = HashedText()

    def identity(self) -> dict[str, Any]:
        """The encoder's sizes."""
        return self.encoder.identity()

    def columns(self, shape: ClipShape) -> tuple[Column, ...]:
        """The states."""
        return (Column("states", "float16", (self.encoder.tokens, self.encoder.width), "l d", about="hashed words"),)

    def load(self, device: Device) -> TextFunction:
        """Hashing needs no device."""
        return lambda captions: {"states": self.encoder.encode(captions).astype(np.float16)}
