"""Latents back to pictures, whichever latent space they lie in."""

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from diffusion.autoencoder import Autoencoder
from diffusion.errors import WeightsError
from diffusion.pixel_codec import PixelCodec
from diffusion.weights import Weights

# [b c t h w], scaled -> [(b t) 3 H W] in -1 to 1
Decoder = Callable[[Tensor], Tensor]


def decoder(latents: dict[str, Any], scaling_factor: float, weights: Weights | None, device: torch.device) -> Decoder:
    """The decoder of a latent space by its identity (``encoder`` and its choices), as dataset.json states it.

    ``weights`` are those of an autoencoder; the pixel codec has none. WeightsError where the space is unknown or the
    weights are missing.
    """
    kind = latents.get("encoder")
    if kind == "PixelCodec":
        codec = PixelCodec(**{name: latents[name] for name in ("cell", "luma", "chroma")})
        return lambda x: codec.decode(_frames(x) / scaling_factor)
    if kind == "AutoencoderKL" and weights is not None:
        autoencoder = Autoencoder.load(weights, device)
        return lambda x: autoencoder.images(_frames(x) / scaling_factor)
    raise WeightsError(
        f"latents of '{kind}' cannot be decoded: "
        + ("no autoencoder is named." if kind == "AutoencoderKL" else "motif knows PixelCodec and AutoencoderKL.")
    )


def _frames(latents: Float[Tensor, "b c t h w"]) -> Float[Tensor, "n c h w"]:
    return rearrange(latents.float(), "b c t h w -> (b t) c h w")
