"""The image autoencoder of the base model: diffusers' AutoencoderKL, frame by frame, posterior in and out.

VideoCrafter2 uses Stable Diffusion's (``first_stage_model``, scaling factor 0.18215).
"""

import json
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion.weights import LocalWeights, Weights, locate

if TYPE_CHECKING:  # diffusers takes seconds and hundreds of megabytes to import: only where a model is loaded
    from diffusers import AutoencoderKL

_FILES = (("config.json",), ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"))


class Autoencoder:
    """A frozen AutoencoderKL on a device."""

    def __init__(self, model: "AutoencoderKL", device: torch.device, dtype: torch.dtype) -> None:
        self.model = model.eval().requires_grad_(False).to(device, dtype)
        self.device = device
        self.dtype = dtype

    @classmethod
    def load(cls, weights: Weights, device: torch.device, dtype: torch.dtype = torch.float32) -> "Autoencoder":
        """Load from a diffusers folder, a hub id or S3; WeightsError where the weights are missing."""
        from diffusers import AutoencoderKL

        folder = find(weights).folder
        return cls(AutoencoderKL.from_pretrained(folder, local_files_only=True), device, dtype)

    @property
    def cell(self) -> int:
        """Pixels of a latent cell's side: the encoder halves the picture once a level."""
        return int(2 ** (len(self.model.config.block_out_channels) - 1))

    @torch.inference_mode()
    def posterior(self, images: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b c y x"], Float[Tensor, "b c y x"]]:
        """Mean and log-variance of RGB images in -1 to 1, unscaled, in float32."""
        distribution = self.model.encode(images.to(self.device, self.dtype)).latent_dist
        return distribution.mean.float(), distribution.logvar.float()

    @torch.inference_mode()
    def images(self, latents: Float[Tensor, "b c y x"], at_once: int = 4) -> Float[Tensor, "b 3 h w"]:
        """RGB images in about -1 to 1 of unscaled latents, float32; so many at once, since decoding takes memory."""
        parts = torch.split(latents.to(self.device, self.dtype), at_once)
        return torch.cat([self.model.decode(part).sample.float() for part in parts])


def find(weights: Weights) -> LocalWeights:
    """The files of an AutoencoderKL on this machine, with their hash."""
    return locate(weights, _FILES, "autoencoder")


def read_config(weights: Weights) -> dict[str, Any]:
    """The model's config.json: latent channels, scaling factor, blocks."""
    config: dict[str, Any] = json.loads((find(weights).folder / "config.json").read_text())
    return config
