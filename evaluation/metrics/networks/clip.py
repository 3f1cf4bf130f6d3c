"""CLIP (Radford et al. 2021) by open_clip: features of frames and of prompts in one space."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from base.errors import InputError, WeightsError
from base.storage.uri import local_path
from base.tensor_hash import tensor_hash
from base.weights import LocalWeights, Weights, locate
from evaluation.metrics.networks.describe import describe
from evaluation.metrics.networks.frames import crop_centre, embed, normalise, resize, resize_short_side
from models.encoders import open_clip_weights

CONFIG = "open_clip_config.json"
_FILTERS = ("bicubic", "bilinear")


class Clip:
    """A CLIP model on a device. ``settings`` are open_clip's of its input."""

    def __init__(self, model: Any, tokenize: Any, device: torch.device, batch: int) -> None:
        self.settings: dict[str, Any] = model.visual.preprocess_cfg
        self.model = model.eval().requires_grad_(False).float().to(device)
        self.tokenize, self.device, self.batch = tokenize, device, batch
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def frames(self, frames: UInt8[np.ndarray, "t h w 3"]) -> Float[np.ndarray, "t d"]:
        """Features of RGB frames of any size."""
        return self._embed(frames, antialias=True)

    def aliased(self, frames: UInt8[np.ndarray, "t h w 3"]) -> Float[np.ndarray, "t d"]:
        """Features of frames that are resized without antialiasing, as VBench does.

        The same array asked for again costs nothing.
        """
        if self._last is None or self._last[0] is not frames:
            self._last = frames, self._embed(frames, antialias=False)
        return self._last[1]

    def _embed(self, frames: UInt8[np.ndarray, "t h w 3"], antialias: bool) -> Float[np.ndarray, "t d"]:
        def network(some: UInt8[Tensor, "t h w 3"]) -> Float[Tensor, "t d"]:
            found: Tensor = self.model.encode_image(self.prepare(some, antialias))
            return found

        return embed(frames, network, self.device, self.batch)

    @torch.inference_mode()
    def prompt(self, text: str) -> Float[np.ndarray, " d"]:
        """Features of a prompt; what exceeds the model's length is cut off."""
        found: Tensor = self.model.encode_text(self.tokenize([text]).to(self.device))
        return found[0].float().cpu().numpy()

    def prepare(self, frames: UInt8[Tensor, "t h w 3"], antialias: bool = True) -> Float[Tensor, "t 3 y x"]:
        """The model's input: short side resized and centre cropped, or squashed if the model was trained with that."""
        size, how = self.settings["size"], self.settings["interpolation"]
        side = size if isinstance(size, int) else size[0]
        if self.settings["resize_mode"] == "squash":
            images = resize(frames, (side, side), how, antialias)
        else:
            images = crop_centre(resize_short_side(frames, side, how, antialias), side)
        return normalise(images, self.settings["mean"], self.settings["std"])


def load_clip(source: str, architecture: str, device: torch.device, batch: int, option: str) -> tuple[Clip, str]:
    """The model of an open_clip checkpoint, and the hash of its tensors.

    A folder with ``open_clip_config.json`` says itself what it is; for other weights ``architecture`` is open_clip's
    name of it. ``option`` names the weights in errors: InputError if both or neither are there, WeightsError if the
    weights do not fit.
    """
    import open_clip

    found = open_clip_weights.find(Weights(source), option)
    config = _find_config(source, found, architecture, option)
    if config is None:
        name, fields, label = architecture, open_clip.get_model_config(architecture), architecture
    else:
        name, fields, label = f"local-dir:{config.parent}", _read(config, option), f"model of this {CONFIG}"
    if fields is None:
        raise InputError(f"{option}-architecture {architecture}: open_clip has no such model. One is ViT-B-32.")
    if fields.get("text_cfg", {}).get("hf_model_name"):
        raise InputError(f"{option} {source}: CLIP with another library's text model is not supported. Use ViT-B-32.")
    try:
        model, tokenize = open_clip_weights.create(name), open_clip.get_tokenizer(name)
    except (KeyError, TypeError, ValueError, RuntimeError, OSError, AssertionError) as error:
        raise WeightsError(f"{option} {source}: open_clip cannot make this model: {describe(error)}.") from error
    _check_input(model.visual.preprocess_cfg, f"{option} {source}")
    open_clip_weights.fill(model, found.files[0], label, option)
    return Clip(model, tokenize, device, batch), tensor_hash(found.files, "clip")


def _find_config(source: str, found: LocalWeights, architecture: str, option: str) -> Path | None:
    """The configuration beside the weights, unless there is none and the architecture is given."""
    beside = found.folder / CONFIG
    if architecture:
        if beside.is_file():
            raise InputError(f"{option}-architecture {architecture}: {beside} says what it is. Omit the option.")
        return None
    if beside.is_file():
        return beside
    if local_path(source).exists():
        raise InputError(
            f"{option} {source}: there is no {CONFIG}, so {option}-architecture must say which of open_clip's models "
            "it is, such as ViT-B-32, or ViT-B-32-quickgelu for OpenAI's weights."
        )
    return locate(Weights(source), ((CONFIG,),), option).files[0]


def _read(path: Path, option: str) -> dict[str, Any]:
    """The model's part of a configuration."""
    try:
        fields = json.loads(path.read_text())["model_cfg"]
        if isinstance(fields, dict) and isinstance(fields["text_cfg"], dict):
            return fields
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise WeightsError(f"{option}: {path} is not a configuration of open_clip: download it again.")


def _check_input(settings: dict[str, Any], what: str) -> None:
    how = f"{settings['resize_mode']} and {settings['interpolation']}"
    if settings["resize_mode"] not in ("shortest", "squash") or settings["interpolation"] not in _FILTERS:
        raise WeightsError(f"{what}: its input is resized by {how}; supported are shortest or squash, and bicubic.")
