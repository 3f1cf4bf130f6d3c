"""What a model is conditioned on, as it takes it: states of a text, tokens of an image."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from base.errors import WeightsError
from base.weights import Weights
from models.encoders.image import CellTokens, ClipImage
from models.encoders.text import ClipText, HashedText

TextEncoder = Callable[[list[str]], Tensor]
ImageEncoder = Callable[[UInt8[Tensor, "b h w 3"]], Tensor]

WITHOUT_WEIGHTS = ("PixelCodec", "HashedText", "CellTokens")
"""The toy's encoders."""


def open_text_encoder(identity: dict[str, Any], weights: Weights | None, device: torch.device) -> TextEncoder:
    """States ``[b l d]`` of prompts by the identity of a text encoder, float32, on a device."""
    kind = identity.get("encoder")
    if kind == "HashedText":
        hashed = HashedText(identity["tokens"], identity["width"])
        return lambda prompts: torch.from_numpy(hashed.encode(prompts)).to(device)
    if weights is None or kind is None:
        raise WeightsError(f"text states of '{kind}' cannot be computed: no text encoder is named.")
    tower = ClipText.load(weights, kind, device, torch.float32)
    return lambda prompts: tower(tower.tokens(prompts))


def open_image_encoder(identity: dict[str, Any], weights: Weights | None, device: torch.device) -> ImageEncoder:
    """Tokens ``[b n d]`` of RGB frames by the identity of an image encoder, on a device.

    They are float32 with the values that float16 has, as a feature dataset keeps them. On a CPU the tower computes in
    float32, whatever the dataset's did.
    """
    kind = identity.get("encoder")
    if kind == "CellTokens":
        encode: ImageEncoder = CellTokens(identity["cell"], identity["place"]).encode
    elif weights is None or kind is None:
        raise WeightsError(f"image tokens of '{kind}' cannot be computed: no image encoder is named.")
    else:
        precision = identity.get("precision", "float32") if device.type == "cuda" else "float32"
        encode = ClipImage.load(weights, kind, device, getattr(torch, precision))
    return lambda frames: encode(frames.to(device)).half().float()
