"""From pictures to latents and back, whichever latent space a model works in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from base.errors import WeightsError
from base.weights import Weights
from models.encoders.autoencoder import Autoencoder, read_config
from models.encoders.pixel_codec import PixelCodec


@dataclass(frozen=True)
class LatentSpace:
    """A latent space, ready on a device.

    ``to_latents`` takes images ``[b 3 H W]`` in -1 to 1 and gives unscaled latents ``[b c h w]``, the mean of the
    posterior; ``to_images`` is the way back. ``cell`` is the width of a latent cell in pixels.
    """

    cell: int
    scaling_factor: float
    to_latents: Callable[[Tensor], Tensor]
    to_images: Callable[[Tensor], Tensor]

    def encode(self, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b c h w"]:
        """Latents as a network takes them."""
        return self.to_latents(images) * self.scaling_factor

    def decode(self, latents: Float[Tensor, "b c t h w"]) -> Float[Tensor, "n 3 height width"]:
        """The frames of clips, one clip after the other, float32."""
        return self.to_images(rearrange(latents.float(), "b c t h w -> (b t) c h w") / self.scaling_factor)


def open_latent_space(
    identity: dict[str, Any], scaling_factor: float, weights: Weights | None, device: torch.device
) -> LatentSpace:
    """The latent space of an identity (``encoder`` and its choices), as dataset.json and motif.json state it.

    ``weights`` are those of an autoencoder; the pixel codec has none. WeightsError where the space is unknown or the
    weights are missing.
    """
    kind = identity.get("encoder")
    if kind == "PixelCodec":
        codec = PixelCodec(**{name: identity[name] for name in ("cell", "luma", "chroma")})
        return LatentSpace(codec.cell, scaling_factor, codec.encode, codec.decode)
    if kind == "AutoencoderKL" and weights is not None:
        autoencoder = Autoencoder.load(weights, device)
        return LatentSpace(
            autoencoder.cell, scaling_factor, lambda images: autoencoder.posterior(images)[0], autoencoder.images
        )
    raise WeightsError(
        f"latents of '{kind}' cannot be encoded or decoded: "
        + ("no autoencoder is named." if kind == "AutoencoderKL" else "motif knows PixelCodec and AutoencoderKL.")
    )


def read_cell(identity: dict[str, Any], weights: Weights | None) -> int:
    """The width of a latent cell in pixels, without loading weights; WeightsError where it cannot be known."""
    if identity.get("encoder") == "PixelCodec":
        return int(identity["cell"])
    if weights is None:
        raise WeightsError("latents: no autoencoder is named, so the size of the videos is not known.")
    levels: int = len(read_config(weights)["block_out_channels"])
    return 1 << (levels - 1)
