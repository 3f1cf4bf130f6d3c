"""An adapter's file, as diffusers and peft write it, and its tensors merged into those of the base.

Each adapted layer has ``unet.NAME.lora_A.weight`` and ``lora_B.weight``, under the network's part in a pipeline; rank
and alpha are in the metadata. A parameter that is trained as a whole is ``whole.NAME``, which diffusers passes over.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from base.errors import WeightsError
from models.adapters.attach import is_low_rank, low_rank_name, trained
from models.adapters.lora import Lora
from models.misfits import misfits
from models.video_model import VideoModel

LORA_FILE = "pytorch_lora_weights.safetensors"
"""Its name, which is diffusers'."""
_SETTINGS = "lora_adapter_metadata"  # the key of diffusers
_WHOLE = "whole."
_A, _B = ".lora_A.weight", ".lora_B.weight"
# Of peft's settings, those that change what A and B mean, and that motif does not know.
_UNKNOWN = ("use_dora", "use_rslora", "lora_bias", "rank_pattern", "alpha_pattern", "fan_in_fan_out")


@dataclass(frozen=True)
class AdapterTensors:
    """The tensors of an adapter: A and B by the name of their layer, whole parameters by their own."""

    adapter: Lora
    layers: dict[str, tuple[Tensor, Tensor]]
    whole: dict[str, Tensor]

    def merged(self, base: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
        """The tensors of the whole network, adapted ones in float32; ``base`` stays as it is.

        WeightsError, which names the file ``place``, if the adapter is of another network.
        """
        self.check(base, place)
        state = {**base, **self.whole}
        for layer, (a, b) in self.layers.items():
            weight = state[f"{layer}.weight"].float()
            change = (b.float().flatten(1) @ a.float().flatten(1)).view_as(weight)
            state[f"{layer}.weight"] = weight + self.adapter.factor * change
        return state

    def check(self, base: Mapping[str, Tensor], place: str) -> None:
        """WeightsError, which names the file ``place``, if the low-rank tensors do not fit these."""
        expected: dict[str, torch.Size] = {}
        found: dict[str, torch.Size] = {}
        for layer, (a, b) in self.layers.items():
            found |= {layer + _A: a.shape, layer + _B: b.shape}
            if f"{layer}.weight" in base:
                out, *into = base[f"{layer}.weight"].shape
                rank, ones = self.adapter.rank, (1,) * (len(into) - 1)
                expected |= {layer + _A: torch.Size((rank, *into)), layer + _B: torch.Size((out, rank, *ones))}
        if wrong := misfits(expected, found):
            raise WeightsError(f"{place} is no adapter of this network: {wrong}. Give the one of its base.")


def save_network(folder: Path, network: VideoModel) -> None:
    """Write a network's config.json and its tensors; with an adapter, those that are trained alone."""
    if network.adapter is None:
        # One file, however large: diffusers would split those above 10 GB.
        network.save_pretrained(folder, max_shard_size="1000TB")
        return
    network.save_config(folder)
    found = {name: parameter.detach().cpu().contiguous() for name, parameter in trained(network).items()}
    names = [name.removesuffix(low_rank_name("", 0)) for name in found if name.endswith(low_rank_name("", 0))]
    layers = {layer: (found[low_rank_name(layer, 0)], found[low_rank_name(layer, 1)]) for layer in names}
    whole = {name: tensor for name, tensor in found.items() if not is_low_rank(name)}
    write_adapter(folder / LORA_FILE, AdapterTensors(network.adapter, layers, whole), folder.name)


def write_adapter(path: Path, tensors: AdapterTensors, part: str) -> None:
    """Write an adapter's file; ``part`` is the network's name in a pipeline, ``unet`` or ``transformer``."""
    stored = {_WHOLE + name: tensor for name, tensor in tensors.whole.items()}
    for layer, (a, b) in tensors.layers.items():
        stored |= {f"{part}.{layer}{_A}": a, f"{part}.{layer}{_B}": b}
    adapter, alpha = tensors.adapter, tensors.adapter.usual_alpha
    settings = {
        "r": adapter.rank,
        "lora_alpha": int(alpha) if alpha.is_integer() else alpha,
        "lora_dropout": adapter.dropout,
        "target_modules": sorted(tensors.layers),
    }
    described = json.dumps({f"{part}.{name}": value for name, value in settings.items()})
    # One entry: of several, safetensors would write the order at random, and equal adapters would not be equal files.
    save_file(stored, path, {_SETTINGS: described})


def read_adapter(path: Path, part: str) -> AdapterTensors:
    """Read an adapter's file; WeightsError if it is damaged, or no LoRA, or one of a kind that motif does not know.

    Names may stand under ``part`` or without it, as diffusers' networks save them. Without settings, alpha is the
    rank.
    """
    try:
        with safe_open(path, framework="pt") as file:
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            settings = json.loads((file.metadata() or {}).get(_SETTINGS, "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read ({error}): copy it again.") from error
    whole = {name.removeprefix(_WHOLE): tensor for name, tensor in stored.items() if name.startswith(_WHOLE)}
    low_rank = {name.removeprefix(f"{part}."): t for name, t in stored.items() if not name.startswith(_WHOLE)}
    layers = {name.removesuffix(_A): name for name in low_rank if name.endswith(_A)}
    other = low_rank.keys() - {layer + half for layer in layers for half in (_A, _B)}
    lacking = [layer + _B for layer in layers if layer + _B not in low_rank]
    if not layers or other or lacking:
        wrong = f"it has {min(other)}" if other else f"it lacks {lacking[0]}" if lacking else "it has no lora_A.weight"
        raise WeightsError(f"{path} is no LoRA in diffusers' names: {wrong}.")
    pairs = {layer: (low_rank[layer + _A], low_rank[layer + _B]) for layer in sorted(layers)}
    settings = {name.removeprefix(f"{part}."): value for name, value in settings.items()}
    return AdapterTensors(_settings(path, settings, pairs), pairs, whole)


def _settings(path: Path, found: Mapping[str, Any], layers: Mapping[str, tuple[Tensor, Tensor]]) -> Lora:
    if unknown := [name for name in _UNKNOWN if found.get(name)]:
        raise WeightsError(f"{path} has {unknown[0]}, which motif does not know: give a LoRA of one rank and alpha.")
    rank = len(next(iter(layers.values()))[0])
    try:
        return Lora(rank, found.get("lora_alpha"), tuple(layers), found.get("lora_dropout") or 0.0)
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{path}: its settings are no LoRA's ({error}).") from error
