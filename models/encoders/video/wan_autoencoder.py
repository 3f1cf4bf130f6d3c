"""Wan's video autoencoder: diffusers' AutoencoderKLWan, as its pipelines use it.

It is causal: the first frame alone makes a latent, and then every 4 frames. Its latents are normalised per channel,
(z - mean) / std, by two vectors of its config, in place of a scaling factor. Encoding takes the posterior's mean, as
Wan's pipelines do; so latent 0 of a clip is that of its first frame alone.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from einops import rearrange
from jaxtyping import Float

from base.tensor_hash import tensor_hash
from base.torch_types import Device, Dtype, Tensor
from base.weights import Weights
from models.encoders.autoencoder import find
from models.latent_grid import LatentGrid

if TYPE_CHECKING:  # diffusers takes seconds and hundreds of megabytes to import
    from diffusers import AutoencoderKLWan

KIND = "AutoencoderKLWan"
_PATCH = 2  # cells, along both sides: of every transformer of Wan
# Fields of config.json that change results for given tensors, with diffusers' defaults.
_SETTINGS: dict[str, Any] = {
    "temperal_downsample": [False, True, True],  # so spelt there
    "is_residual": False,
    "patch_size": None,
    "attn_scales": [],
    "latents_mean": None,
    "latents_std": None,
}


def wan22_config() -> dict[str, Any]:
    """The sizes of Wan2.2-TI2V-5B's autoencoder, as in its config.json; not its means and deviations."""
    channels = 48
    return {
        "base_dim": 160,
        "decoder_base_dim": 256,
        "z_dim": channels,
        "dim_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "temperal_downsample": [False, True, True],
        "is_residual": True,
        "patch_size": 2,
        "in_channels": 12,
        "out_channels": 12,
        "latents_mean": [0.0] * channels,
        "latents_std": [1.0] * channels,
        "scale_factor_temporal": 4,
        "scale_factor_spatial": 16,
    }


def grid_of(config: Mapping[str, Any]) -> LatentGrid:
    """The latent grid of an autoencoder with this config.json, in whole patches of Wan's transformers."""
    halvings = config.get("temperal_downsample", _SETTINGS["temperal_downsample"])
    cell = 2 ** len(halvings) * (config.get("patch_size") or 1)
    return LatentGrid(config["z_dim"], 2 ** sum(halvings), cell, _PATCH)


class WanAutoencoder:
    """A frozen AutoencoderKLWan on a device."""

    def __init__(self, model: "AutoencoderKLWan", device: Device, dtype: Dtype) -> None:
        import torch
        from torch import nn

        self.model = model.eval().requires_grad_(False)
        nn.Module.to(self.model, device, dtype)  # diffusers' own warns, even of an empty list of exceptions
        self.device, self.dtype = device, dtype
        vectors = (model.config.latents_mean, model.config.latents_std)
        self.mean, self.std = (torch.tensor(v, device=device).view(1, -1, 1, 1, 1) for v in vectors)

    @classmethod
    def load(cls, weights: Weights, device: Device, dtype: Dtype | None = None) -> "WanAutoencoder":
        """Load from a diffusers folder, a hub id or S3, by default as float32. WeightsError if it is missing."""
        import torch
        from diffusers import AutoencoderKLWan

        model = AutoencoderKLWan.from_pretrained(find(weights).folder, local_files_only=True)
        return cls(model, device, dtype or torch.float32)

    @classmethod
    def new(cls, config: Mapping[str, Any], device: Device, dtype: Dtype) -> "WanAutoencoder":
        """With random weights on a device, which may be meta; ``config`` as in config.json."""
        from diffusers import AutoencoderKLWan

        with device:
            return cls(AutoencoderKLWan.from_config(dict(config)), device, dtype)

    @property
    def grid(self) -> LatentGrid:
        """The grid of its latents."""
        return grid_of(self.model.config)

    def encode(self, videos: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b c k y x"]:
        """Normalised latents of RGB videos in -1 to 1, in float32.

        InputError for numbers of frames or sides that the grid does not divide, of which diffusers drops the rest.
        """
        import torch

        self.grid.shape(*videos.shape[2:])
        with torch.inference_mode():
            mode: Tensor = self.model.encode(videos.to(self.device, self.dtype)).latent_dist.mode()
            return (mode.float() - self.mean) / self.std

    def decode(self, latents: Float[Tensor, "b c k y x"]) -> Float[Tensor, "n 3 h w"]:
        """The frames of clips, clip by clip, RGB in -1 to 1, from normalised latents; float32."""
        import torch

        with torch.inference_mode():
            plain = latents.to(self.device).float() * self.std + self.mean
            videos = [self.model.decode(one.to(self.dtype)).sample.float() for one in torch.split(plain, 1)]
            return rearrange(torch.cat(videos), "b c t h w -> (b t) c h w")


def identity(weights: Weights, precision: str) -> dict[str, Any]:
    """The identity of latents with these weights: by their tensors, and the settings that change results."""
    config_file, *files = find(weights).files
    config = json.loads(config_file.read_text())
    settings = {name: config.get(name, default) for name, default in _SETTINGS.items()}
    tensors = [path for path in files if path.suffix != ".json"]
    return {
        "encoder": KIND,
        "weights_tensors": tensor_hash(tensors, KIND, settings=settings),
        "stride": grid_of(config).stride,
        "precision": precision,
        "version": 1,
    }
