"""DINO (Caron et al. 2021): the class token of its ViT-B/16, which tells subjects apart."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from base.errors import WeightsError
from base.tensor_hash import tensor_hash
from base.weights import Weights, locate
from evaluation.metrics.networks.describe import describe
from evaluation.metrics.networks.frames import crop_centre, embed, normalise, resize_short_side
from models.encoders.quiet import quiet

_PURPOSE = "--dino"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
_SIDE = 224
_CROPPED_FROM = 256


class Dino:
    """A vision transformer on a device, seen in VBench's two ways."""

    def __init__(self, model: Any, device: torch.device, batch: int) -> None:
        self.model = model.eval().requires_grad_(False).float().to(device)
        self.device, self.batch = device, batch

    def cropped(self, frames: UInt8[np.ndarray, "t h w 3"]) -> Float[np.ndarray, "t d"]:
        """Features of the middle of each frame, as VBench-I2V compares it with the image."""
        return embed(frames, lambda some: self._token(crop(some)), self.device, self.batch)

    def whole(self, frames: UInt8[np.ndarray, "t h w 3"]) -> Float[np.ndarray, "t d"]:
        """Features of whole frames, as VBench compares them with each other."""
        return embed(frames, lambda some: self._token(shrink(some)), self.device, self.batch)

    def _token(self, images: Float[Tensor, "t 3 y x"]) -> Float[Tensor, "t d"]:
        states: Tensor = self.model(pixel_values=images, interpolate_pos_encoding=True).last_hidden_state
        return states[:, 0]


def crop(frames: UInt8[Tensor, "t h w 3"]) -> Float[Tensor, "t 3 y x"]:
    """The short side to 256, bicubic, and of that the central square of 224."""
    return normalise(crop_centre(resize_short_side(frames, _CROPPED_FROM, "bicubic"), _SIDE), _MEAN, _STD)


def shrink(frames: UInt8[Tensor, "t h w 3"]) -> Float[Tensor, "t 3 y x"]:
    """The short side to 224, bilinear and not antialiased, as VBench does; nothing is cropped."""
    return normalise(resize_short_side(frames, _SIDE, "bilinear", antialias=False), _MEAN, _STD)


def load_dino(source: str, device: torch.device, batch: int) -> tuple[Dino, str]:
    """The network of a folder or hub id in transformers' layout, and the hash of its tensors.

    WeightsError if it is no ViT, or tensors are missing or of other shapes.
    """
    found = locate(Weights(source), (("config.json",), ("model.safetensors", "pytorch_model.bin")), _PURPOSE)
    tensors = tensor_hash(found.files[1:], "dino")  # first: it refuses files that hold more than tensors
    return Dino(_load(found.folder), device, batch), tensors


def _load(folder: Path) -> Any:
    """The transformer without a pooling layer; tensors that it lacks would be random, so they are refused."""
    from transformers import AutoConfig, ViTModel

    try:
        kind = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False).model_type
        if kind != "vit":
            raise WeightsError(f"{_PURPOSE} {folder} is of type {kind}: give a ViT, such as facebook/dino-vitb16.")
        with quiet():
            loaded: Any = ViTModel.from_pretrained(
                folder, add_pooling_layer=False, local_files_only=True, output_loading_info=True
            )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise WeightsError(f"{_PURPOSE} {folder} cannot be loaded: {describe(error)}.") from error
    model, loading = loaded
    if missing := sorted(map(str, loading["missing_keys"])):
        raise WeightsError(f"{_PURPOSE} {folder} lacks {', '.join(missing[:3])}: is it a ViT?")
    return model
