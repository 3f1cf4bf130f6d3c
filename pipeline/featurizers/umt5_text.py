"""Text states of Wan's encoder, without padding."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from base.gpus import Cost
from base.torch_types import Device
from base.weights import Weights
from dataset.parts.schema import Column
from models.encoders.umt5 import TOKENS, Umt5, identity, new_encoder, read_config, umt5_xxl_config
from pipeline.featurizers.base import TextFeature, TextFunction, find_base_part
from pipeline.video.geometry import ClipShape


@dataclass(frozen=True)
class Umt5States(TextFeature):
    """UMT5's last states of a caption's own tokens, at most 512, float16.

    Readers add zeros up to 512 tokens, as Wan's pipelines do: stored, they would be most of 4 MiB a caption.
    """

    kind: ClassVar[str] = "text"

    weights: Weights = Weights("")
    """By default the base model's, with the ``tokenizer`` beside it."""
    precision: Literal["bfloat16", "float32"] = "bfloat16"

    def identity(self) -> dict[str, Any]:
        """Hash of the weights and of the tokenizer, most tokens, and precision."""
        return identity(self.weights, self.precision)

    def resolved(self, base_model: str) -> "Umt5States":
        """With the base model's text encoder by default."""
        return self if self.weights.source else replace(self, weights=find_base_part(base_model, "text_encoder"))

    def facts(self) -> dict[str, Any]:
        """Where the weights came from."""
        return self.weights.facts()

    @property
    def _config(self) -> dict[str, Any]:
        """Of its weights; before it is resolved, that of UMT5-XXL."""
        return read_config(self.weights) if self.weights.source else umt5_xxl_config()

    def columns(self, shape: ClipShape) -> tuple[Column, ...]:
        """The states."""
        size = (TOKENS, int(self._config["d_model"]))
        return (Column("states", "float16", size, "l d", about="last text states, unpadded", ragged=True),)

    def cost(self, shape: ClipShape) -> Cost:
        """The encoder's, of the longest caption."""
        import torch

        from models.estimate import forward_cost

        with torch.device("meta"):
            encoder = new_encoder(self._config).eval().to(getattr(torch, self.precision))
            tokens = torch.empty(1, TOKENS, dtype=torch.long)
            return forward_cost(lambda: encoder(tokens), self.precision)

    def load(self, device: Device) -> TextFunction:
        """Encode captions one by one: so short ones cost little, and none depends on the others."""
        import torch

        encoder = Umt5.load(self.weights, device, getattr(torch, self.precision))

        def compute(captions: list[str]) -> dict[str, list[np.ndarray]]:
            return {"states": [encoder.states(caption).half().cpu().numpy() for caption in captions]}

        return compute
