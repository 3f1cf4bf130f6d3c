"""OpenCLIP models and checkpoints, of which the text and image encoders use one tower each."""

import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from base.errors import WeightsError
from base.tensor_hash import read_tensors, tensor_hash
from base.torch_types import Tensor
from base.weights import LocalWeights, Weights, locate


def create(architecture: str) -> Any:
    """An open_clip model with random weights on the default device (only shapes on meta)."""
    import open_clip
    import torch

    with _quiet():
        device = torch.get_default_device()
        return open_clip.create_model(architecture, pretrained=None, load_weights=False, device=device)


def find(weights: Weights, purpose: str, *, download: bool = True) -> LocalWeights:
    """The checkpoint file on this machine; ``purpose`` names the encoder in the error."""
    names = (
        "open_clip_model.safetensors",
        "open_clip_pytorch_model.safetensors",
        "open_clip_pytorch_model.bin",
    )
    return locate(weights, (names,), purpose, download=download)


def tower_hash(found: LocalWeights, tower: Sequence[str]) -> str:
    """The hash of one tower's tensors, given by name prefixes. The other tower is ignored.

    So a tower has the same hash in a full checkpoint and in a file of its own.
    """
    begins = tuple(tower)
    return tensor_hash(found.files, " ".join(begins), lambda name: name if name.startswith(begins) else None)


def fill(tower: Any, path: Path, architecture: str, purpose: str) -> None:
    """Load a checkpoint's tensors into a tower, a module that was created on meta with the checkpoint's names.

    The other tower's tensors are ignored. WeightsError if one is missing or has another shape.
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
    """Silence open_clip's warning about random weights: they are loaded right after."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def _tensors(path: Path, wanted: Iterable[str]) -> dict[str, Tensor]:
    names = set(wanted)
    return {name: read() for name, read in read_tensors(path) if name in names}
