"""Reads a checkpoint file, and checks its tensors against a model's."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from base.errors import WeightsError
from models.misfits import misfits
from models.videocrafter2.names import is_ignored

Shapes = dict[str, torch.Size]


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a Lightning checkpoint or a safetensors file, memory-mapped.

    WeightsError if the file is missing, truncated, or contains more than tensors and plain values.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file. Download VideoCrafter2's with `motif fetch videocrafter2`.")
    try:
        loaded = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} contains Python objects, which are not loaded because they could execute code. If you trust it, "
            "torch.load(..., weights_only=False)['state_dict'] and save that with safetensors."
        ) from error
    except (SafetensorError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path} is not a checkpoint or is incomplete ({reason}): download it again.") from error
    tensors = loaded.get("state_dict", loaded)
    return {name: tensor for name, tensor in tensors.items() if isinstance(tensor, Tensor)}


def _safetensors(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(path)


def _pickled(path: Path) -> dict[str, Any]:
    loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return loaded if isinstance(loaded, dict) else {}


def check(tensors: Mapping[str, Tensor], expected: Shapes, path: Path) -> None:
    """WeightsError if tensors of a checkpoint are missing, unknown or have another shape."""
    found = {name: tensor.shape for name, tensor in tensors.items() if name in expected or not is_ignored(name)}
    for name, shape in expected.items():
        if name in found and linear(found[name], shape):
            found[name] = shape
    if wrong := misfits(expected, found):
        raise WeightsError(
            f"{path} is not VideoCrafter2's checkpoint for 512 x 320: {wrong}. Use model.ckpt of "
            "VideoCrafter/VideoCrafter2."
        )


def linear(found: torch.Size, wanted: torch.Size) -> bool:
    """Whether a tensor is a convolution of size one for a linear layer, with the same values."""
    extra = len(found) - len(wanted)
    return extra > 0 and found == wanted + (1,) * extra
