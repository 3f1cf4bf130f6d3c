"""Text states for cross-attention: OpenCLIP's penultimate layer, or hashed words, which need no weights."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from base.weights import LocalWeights, Weights
from models.encoders import open_clip_weights

CONTEXT_LENGTH = 77
_PURPOSE = "text encoder"
_TOWER = ("token_embedding.", "positional_embedding", "transformer.", "ln_final.")  # prefixes of its tensors' names


@dataclass(frozen=True)
class HashedText:
    """One vector per word, drawn from the word's hash: without weights, but the same for equal words.

    States ``[l d]`` hold the first ``tokens`` words; a sinusoid of the position is added; unused positions are zero.
    """

    tokens: int = 16
    width: int = 64

    def __post_init__(self) -> None:
        """Check the sizes."""
        if self.tokens < 1 or self.width < 2 or self.width % 2:
            raise ValueError(f"hashed text of {self.tokens} tokens x {self.width}: at least 1 token, an even width")

    def identity(self) -> dict[str, Any]:
        """The identity of this encoder's states."""
        return {"encoder": "HashedText", "tokens": self.tokens, "width": self.width, "version": 1}

    @classmethod
    def of(cls, identity: Mapping[str, Any]) -> "HashedText":
        """The encoder with this identity."""
        return cls(identity["tokens"], identity["width"])

    def encode(self, captions: list[str]) -> Float[np.ndarray, "n l d"]:
        """States of captions, float32, each component with unit deviation."""
        out = np.zeros((len(captions), self.tokens, self.width), np.float32)
        for row, caption in enumerate(captions):
            for place, word in enumerate(re.findall(r"\w+", caption.lower())[: self.tokens]):
                out[row, place] = self._word(word) + 0.5 * self._position(place)
        return out

    def _word(self, word: str) -> Float[np.ndarray, " d"]:
        # Hash bytes are uniform; they are normalised to mean 0 and deviation 1.
        data = hashlib.shake_128(word.encode()).digest(self.width)
        deviation = np.sqrt((256**2 - 1) / 12)
        return np.asarray((np.frombuffer(data, np.uint8) - 127.5) / deviation, np.float32)

    def _position(self, place: int) -> Float[np.ndarray, " d"]:
        angles = place / 100 ** (np.arange(self.width // 2) / (self.width // 2))
        return np.concatenate([np.sin(angles), np.cos(angles)]).astype(np.float32)


class ClipText(nn.Module):
    """OpenCLIP's text tower up to the penultimate layer, then the final norm, without projection.

    VideoCrafter2 conditions on these states (``FrozenOpenCLIPEmbedder``, layer "penultimate"). All 77 positions
    are used: the U-Net also attends to the padding, with id 0.
    """

    def __init__(self, architecture: str = "ViT-H-14") -> None:
        super().__init__()
        import open_clip

        model = open_clip_weights.create(architecture)
        self.token_embedding: nn.Embedding = model.token_embedding
        self.positional_embedding: nn.Parameter = model.positional_embedding
        self.transformer: nn.Module = model.transformer
        self.ln_final: nn.Module = model.ln_final
        self.register_buffer("attn_mask", model.attn_mask, persistent=False)
        self.tokenize = open_clip.get_tokenizer(architecture)

    @classmethod
    def load(cls, weights: Weights, architecture: str, device: torch.device, dtype: torch.dtype) -> "ClipText":
        """Load an open_clip checkpoint; tensors of its image tower are ignored."""
        with torch.device("meta"):
            encoder = cls(architecture)
        open_clip_weights.fill(encoder, find(weights).files[0], architecture, _PURPOSE)
        encoder.attn_mask = torch.full((CONTEXT_LENGTH, CONTEXT_LENGTH), float("-inf")).triu_(1)
        return encoder.eval().requires_grad_(False).to(device, dtype)

    def tokens(self, captions: list[str]) -> Int[Tensor, "n l"]:
        """Token ids ``[n 77]``: start, words, end, then zeros; longer captions are truncated."""
        ids: Tensor = self.tokenize(captions)
        return ids

    @torch.inference_mode()
    def forward(self, tokens: Int[Tensor, "n l"]) -> Float[Tensor, "n l d"]:
        """States of all positions."""
        device = self.positional_embedding.device
        x = self.token_embedding(tokens.to(device)) + self.positional_embedding
        mask = self.get_buffer("attn_mask").to(x)
        blocks = self.transformer.resblocks
        assert isinstance(blocks, nn.ModuleList)
        for block in list(blocks)[:-1]:
            x = block(x, attn_mask=mask)
        states: Tensor = self.ln_final(x)
        return states


def find(weights: Weights, *, download: bool = True) -> LocalWeights:
    """The checkpoint file on this machine."""
    return open_clip_weights.find(weights, _PURPOSE, download=download)


def weights_hash(weights: Weights, *, download: bool = True) -> str:
    """The hash of the text tower's tensors."""
    return open_clip_weights.tower_hash(find(weights, download=download), _TOWER)


def identity(architecture: str, weights: Weights, precision: str) -> dict[str, Any]:
    """The identity of a text tower's states: weights by their tensors, layer, padding and precision."""
    return {
        "encoder": architecture,
        "weights_tensors": weights_hash(weights),
        "layer": "penultimate",
        "pad_id": 0,
        "precision": precision,
        "version": 1,
    }
