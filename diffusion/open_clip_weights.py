"""OpenCLIP models and their checkpoints, of which the text and the image encoder take one tower each."""

import contextlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffusion.errors import WeightsError
from diffusion.weights import LocalWeights, Weights, locate


def create(architecture: str) -> Any:
    """An open_clip model without weights: random ones on the default device, shapes alone on meta."""
    import open_clip

    with _quiet():
        device = torch.get_default_device()
        return open_clip.create_model(architecture, pretrained=None, load_weights=False, device=device)


def find(weights: Weights, purpose: str) -> LocalWeights:
    """The checkpoint file on this machine, with its hash; ``purpose`` names the encoder in the error."""
    names = (
        "open_clip_model.safetensors",
        "open_clip_pytorch_model.safetensors",
        "open_clip_pytorch_model.bin",
    )
    return locate(weights, (names,), purpose)


def fill(tower: nn.Module, path: Path, architecture: str, purpose: str) -> None:
    """Put a checkpoint's tensors into a tower that was made on meta and whose names are the checkpoint's.

    The other tower's tensors are left aside. WeightsError where one of this tower's is missing or of another shape.
    """
    wanted = tower.state_dict()
    tensors = _tensors(path, wanted)
    if missing := wanted.keys() - tensors.keys():
        raise WeightsError(f"{purpose}: {path} lacks {', '.join(sorted(missing)[:3])}: is it a {architecture}?")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            sizes = f"{tuple(tensor.shape)} instead of {tuple(wanted[name].shape)}"
            raise WeightsError(f"{purpose}: {path} has {name} of {sizes}: is it a {architecture}?")
    tower.load_state_dict(tensors, assign=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence open_clip's warning that the model is random: the weights are loaded right after."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def _tensors(path: Path, wanted: Iterable[str]) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            stored = set(file.keys())
            return {name: file.get_tensor(name) for name in wanted if name in stored}
    loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return {name: loaded[name] for name in wanted if name in loaded}
