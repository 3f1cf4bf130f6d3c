"""The image autoencoder of the base model: diffusers' AutoencoderKL, applied frame by frame.

VideoCrafter2 uses Stable Diffusion's (``first_stage_model``).
"""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jaxtyping import Float

from base.tensor_hash import tensor_hash
from base.torch_types import Device, Dtype, Tensor
from base.weights import LocalWeights, Weights, locate

if TYPE_CHECKING:  # diffusers takes seconds and hundreds of megabytes to import
    from diffusers import AutoencoderKL

SCALING_FACTOR = 0.18215
"""Of the base model's latents."""
_NAME = "diffusion_pytorch_model"
_FILES = (
    ("config.json",),
    (f"{_NAME}.safetensors", f"{_NAME}.safetensors.index.json", f"{_NAME}.bin", f"{_NAME}.bin.index.json"),
)
# Fields of config.json that change results for given tensors, with diffusers' defaults; the others are sizes, which the
# tensors imply, the scaling factor, which is applied when latents are read, and metadata.
_SETTINGS = {
    "down_block_types": ["DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D"],
    "act_fn": "silu",
    "norm_num_groups": 32,
}
# Old versions of diffusers named attention layers differently; it renames them when loading.
_RENAMED = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_ATTENTION = re.compile(r"(?<=\.attentions\.0\.)(query|key|value|proj_attn)(?=\.)")


def base_config(widths: tuple[int, ...] = (128, 256, 512, 512), groups: int = 32) -> dict[str, Any]:
    """The sizes of the base model's autoencoder, as in its config.json; other ``widths`` are for tests."""
    return {
        "block_out_channels": widths,
        "down_block_types": ("DownEncoderBlock2D",) * len(widths),
        "up_block_types": ("UpDecoderBlock2D",) * len(widths),
        "layers_per_block": 2,
        "latent_channels": 4,
        "norm_num_groups": groups,
        "scaling_factor": SCALING_FACTOR,
    }


class Autoencoder:
    """A frozen AutoencoderKL on a device. Its decoder may compute in another precision, ``decoding``."""

    def __init__(self, model: "AutoencoderKL", device: Device, dtype: Dtype, decoding: Dtype | None = None) -> None:
        from torch import nn

        self.model = model.eval().requires_grad_(False)
        nn.Module.to(self.model, device, dtype)  # diffusers' own warns, even of an empty list of exceptions
        self.device = device
        self.dtype = dtype
        self.decoding = decoding or dtype
        for part in filter(None, (model.post_quant_conv, model.decoder)):
            part.to(self.decoding)

    @classmethod
    def load(
        cls, weights: Weights, device: Device, dtype: Dtype | None = None, decoding: Dtype | None = None
    ) -> "Autoencoder":
        """Load from a diffusers folder, a hub id or S3, by default as float32.

        WeightsError if the weights are missing.
        """
        import torch
        from diffusers import AutoencoderKL

        folder = find(weights).folder
        model = AutoencoderKL.from_pretrained(folder, local_files_only=True)
        return cls(model, device, dtype or torch.float32, decoding)

    @classmethod
    def new(
        cls, config: Mapping[str, Any], device: Device, dtype: Dtype, decoding: Dtype | None = None
    ) -> "Autoencoder":
        """With random weights on a device, which may be meta; ``config`` as in config.json."""
        from diffusers import AutoencoderKL

        with device:
            return cls(AutoencoderKL.from_config(dict(config)), device, dtype, decoding)

    @property
    def cell(self) -> int:
        """Side of a latent cell in pixels: the encoder halves the picture once per level."""
        return int(2 ** (len(self.model.config.block_out_channels) - 1))

    def posterior(self, images: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b c y x"], Float[Tensor, "b c y x"]]:
        """Mean and log-variance of RGB images in -1 to 1, unscaled, in float32."""
        import torch

        with torch.inference_mode():
            distribution = self.model.encode(images.to(self.device, self.dtype)).latent_dist
            return distribution.mean.float(), distribution.logvar.float()

    def images(self, latents: Float[Tensor, "b c y x"], at_once: int = 4) -> Float[Tensor, "b 3 h w"]:
        """RGB images in about -1 to 1 from unscaled latents, float32; ``at_once`` limits memory."""
        import torch

        with torch.inference_mode():
            parts = torch.split(latents.to(self.device, self.decoding), at_once)
            return torch.cat([self.model.decode(part).sample.float() for part in parts])


def find(weights: Weights, *, download: bool = True) -> LocalWeights:
    """The files of an AutoencoderKL on this machine."""
    return locate(weights, _FILES, "autoencoder", download=download)


def weights_hash(weights: Weights, *, download: bool = True) -> str:
    """The hash of the tensors, and of the settings in config.json that affect results."""
    config_file, *files = find(weights, download=download).files
    config = json.loads(config_file.read_text())
    settings = {name: config.get(name, default) for name, default in _SETTINGS.items()}
    tensors = [path for path in files if path.suffix != ".json"]
    return tensor_hash(tensors, "autoencoder", _current_name, settings)


def _current_name(name: str) -> str:
    return _ATTENTION.sub(lambda found: _RENAMED[found[0]], name)


def read_config(weights: Weights) -> dict[str, Any]:
    """The model's config.json: latent channels, scaling factor, blocks."""
    config: dict[str, Any] = json.loads((find(weights).folder / "config.json").read_text())
    return config


def identity(weights: Weights, precision: str) -> dict[str, Any]:
    """The identity of latents with these weights: by their tensors, independent of their source."""
    return {
        "encoder": "AutoencoderKL",
        "weights_tensors": weights_hash(weights),
        "precision": precision,
        "version": 1,
    }
