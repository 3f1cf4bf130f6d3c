"""A network from its files: config.json and tensors."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from base.errors import WeightsError
from models.misfits import misfits
from models.video_model import VideoModel

Network = TypeVar("Network", bound=VideoModel)


def read_network(
    kind: type[Network], settings: Path, tensors: Sequence[Path], dtype: torch.dtype, unused: str = "-"
) -> Network:
    """A network of a class from its config.json and its file of tensors, or the shards of it.

    In evaluation mode on the CPU. Tensors with ``unused`` in their names are dropped. WeightsError if files do not
    match, or describe another class.
    """
    state = {name: tensor for name, tensor in read_tensors(tensors).items() if unused not in name}
    return filled_network(kind, settings, state, str(tensors[0]), dtype)


def filled_network(
    kind: type[Network], settings: Path, state: dict[str, torch.Tensor], place: str, dtype: torch.dtype
) -> Network:
    """The same from tensors that were read from ``place``."""
    described = json.loads(settings.read_text())
    # A network that extends one of diffusers may be stored under the name of that.
    if described.get("_class_name") not in {parent.__name__ for parent in kind.__mro__}:
        raise WeightsError(
            f"network: {settings} describes a {described.get('_class_name')}, not a {kind.__name__}. Create a model "
            "folder with `motif convert` or `motif train`."
        )
    with torch.device("meta"):
        network = cast(Network, kind.from_config(described))
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    if wrong := misfits(expected, {name: tensor.shape for name, tensor in state.items()}):
        raise WeightsError(f"network: {place} does not fit its config.json: {wrong}. Take both from one model.")
    # Cast first: diffusers warns about casting a whole model, even with an empty list of exceptions.
    network.load_state_dict({name: tensor.to(dtype) for name, tensor in state.items()}, assign=True)
    network.eval()
    return network


def read_tensors(files: Sequence[Path]) -> dict[str, torch.Tensor]:
    """The tensors of safetensors files; WeightsError if one is damaged."""
    state: dict[str, torch.Tensor] = {}
    for path in files:
        try:
            state |= load_file(path)
        except SafetensorError as error:
            raise WeightsError(
                f"network: {path} cannot be read ({error}). The file is incomplete: download it again."
            ) from error
    return state
