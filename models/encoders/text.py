"""Text states for cross-attention: hashed words, which need no weights, and the identity of OpenCLIP's states.

OpenCLIP's text tower itself is in :mod:`models.encoders.clip_text`. This file loads no torch, so that a plan can do
without.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from base.weights import LocalWeights, Weights
from models.encoders import open_clip_weights

CONTEXT_LENGTH = 77
PURPOSE = "text encoder"
"""What messages call it."""
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


def find(weights: Weights, *, download: bool = True) -> LocalWeights:
    """The checkpoint file on this machine."""
    return open_clip_weights.find(weights, PURPOSE, download=download)


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
