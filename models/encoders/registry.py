"""Opens encoders by the identity of their features, as recorded by featurizers.

An identity (``encoder`` and its settings) is defined in the encoder's file and stored in dataset.json and motif.json.
Encoders without weights are identified by their names, OpenCLIP's towers by their architecture.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from base.errors import WeightsError
from base.weights import Weights
from models.encoders import umt5
from models.encoders.autoencoder import Autoencoder, read_config
from models.encoders.clip_image import ClipImage
from models.encoders.clip_text import ClipText
from models.encoders.image import CellTokens
from models.encoders.latent_space import LatentSpace
from models.encoders.pixel_codec import PixelCodec
from models.encoders.text import HashedText
from models.encoders.umt5 import Umt5
from models.encoders.video import wan_autoencoder
from models.encoders.video.pixel_codec import VideoPixelCodec
from models.encoders.video.wan_autoencoder import WanAutoencoder

TextEncoder = Callable[[list[str]], Tensor]
ImageEncoder = Callable[[UInt8[Tensor, "b h w 3"]], Tensor]

_WITHOUT_WEIGHTS = {"PixelCodec", "VideoPixelCodec", "HashedText", "CellTokens"}
_LATENTS = "PixelCodec, VideoPixelCodec, AutoencoderKL and AutoencoderKLWan"


def has_weights(identity: Mapping[str, Any]) -> bool:
    """Whether an encoder needs weights; the toy's do not."""
    return identity.get("encoder") not in _WITHOUT_WEIGHTS


def open_latent_space(
    identity: Mapping[str, Any],
    scaling_factor: float,
    weights: Weights | None,
    device: torch.device,
    decoding: torch.dtype = torch.float32,
) -> LatentSpace:
    """The latent space of an identity. ``weights`` are an autoencoder's; pixel codecs have none.

    ``decoding`` is the precision of an autoencoder's decoder; it encodes in float32.
    WeightsError if the space is unknown or the weights are missing.
    """
    kind = identity.get("encoder")
    if kind == "PixelCodec":
        codec = PixelCodec.of(identity)
        return LatentSpace(codec.cell, scaling_factor, codec.encode, codec.decode)
    if kind == "VideoPixelCodec":
        return _of_videos(VideoPixelCodec.of(identity), scaling_factor)
    if kind == wan_autoencoder.KIND and weights is not None:
        return _of_videos(WanAutoencoder.load(weights, device), scaling_factor)
    if kind == "AutoencoderKL" and weights is not None:
        autoencoder = Autoencoder.load(weights, device, decoding=decoding)
        return LatentSpace(
            autoencoder.cell, scaling_factor, lambda images: autoencoder.posterior(images)[0], autoencoder.images
        )
    raise WeightsError(
        f"latents of '{kind}' cannot be encoded or decoded: "
        + ("no autoencoder is given." if str(kind).startswith("AutoencoderKL") else f"motif supports {_LATENTS}.")
    )


def _of_videos(encoder: VideoPixelCodec | WanAutoencoder, scaling_factor: float) -> LatentSpace:
    """The latent space of an encoder that compresses time; an image is a video of one frame."""

    def to_latents(images: Tensor) -> Tensor:
        return encoder.encode(images[:, :, None])[:, :, 0]

    return LatentSpace(encoder.grid.cell, scaling_factor, to_latents, encoder.decode, encoder.grid.stride)


def read_cell(identity: Mapping[str, Any], weights: Weights | None) -> int:
    """The width of a latent cell in pixels, without loading weights; WeightsError if it is unknown."""
    if identity.get("encoder") in ("PixelCodec", "VideoPixelCodec"):
        return int(identity["cell"])
    if weights is None:
        raise WeightsError("latents: no autoencoder is given, so the size of videos is unknown.")
    config = read_config(weights)
    if identity.get("encoder") == wan_autoencoder.KIND:
        return wan_autoencoder.grid_of(config).cell
    levels: int = len(config["block_out_channels"])
    return 1 << (levels - 1)


def open_text_encoder(identity: Mapping[str, Any], weights: Weights | None, device: torch.device) -> TextEncoder:
    """States ``[b l d]`` of prompts by the identity of a text encoder, float32, on a device."""
    kind = identity.get("encoder")
    if kind == "HashedText":
        hashed = HashedText.of(identity)
        return lambda prompts: torch.from_numpy(hashed.encode(prompts)).to(device)
    if weights is None or kind is None:
        raise WeightsError(f"text states of '{kind}' cannot be computed: no text encoder is given.")
    if kind == umt5.KIND:
        return Umt5.load(weights, device, getattr(torch, identity.get("precision", "bfloat16"))).padded
    tower = ClipText.load(weights, kind, device, torch.float32)
    return lambda prompts: tower(tower.tokens(prompts))


def open_image_encoder(identity: Mapping[str, Any], weights: Weights | None, device: torch.device) -> ImageEncoder:
    """Tokens ``[b n d]`` of RGB frames by the identity of an image encoder, on a device.

    They are float32 with values rounded to float16, as in a feature dataset. On a CPU the tower computes in float32,
    whatever the dataset's precision.
    """
    kind = identity.get("encoder")
    if kind == "CellTokens":
        encode: ImageEncoder = CellTokens.of(identity).encode
    elif weights is None or kind is None:
        raise WeightsError(f"image tokens of '{kind}' cannot be computed: no image encoder is given.")
    else:
        precision = identity.get("precision", "float32") if device.type == "cuda" else "float32"
        encode = ClipImage.load(weights, kind, device, getattr(torch, precision))
    return lambda frames: encode(frames.to(device)).half().float()
