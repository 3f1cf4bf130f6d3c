"""Adds an adapter to a network: the layers of peft, everything else frozen."""

import difflib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeGuard

import torch
from torch import nn

from base.errors import InputError
from models.adapters.lora import Lora
from models.video_model import VideoModel

_HALVES = (".lora_A.default.weight", ".lora_B.default.weight")  # peft's names, after that of the layer
_NAMED = 6
Adaptable = nn.Linear | nn.Conv2d | nn.Conv3d


def attach(network: VideoModel, adapter: Lora, usual: Sequence[str] = (), grown: Collection[str] = ()) -> None:
    """Freeze a network and add an adapter, which alone is trained from then on.

    ``usual`` are the targets if the adapter names none. ``grown`` names parameters that the network has beyond its
    base, such as those of an image condition: they have nothing to adapt, and are trained as a whole. A is drawn from
    torch's global generator. InputError names targets that are not there.
    """
    adapter = replace(adapter, targets=adapter.targets or tuple(usual))
    layers = [name for name in _find_layers(network, adapter.targets) if f"{name}.weight" not in grown]
    if not layers:
        raise InputError(f"adapter.targets {', '.join(adapter.targets)}: new here, so trained as a whole. Name others.")
    network.requires_grad_(False)
    _inject(network, adapter, layers)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(is_low_rank(name) or name in grown)
    if adapter.base == "bfloat16":
        _halve(network)
    network.adapter = adapter


def _inject(network: VideoModel, adapter: Lora, layers: list[str]) -> None:
    from peft import LoraConfig, inject_adapter_in_model  # takes seconds to import
    from peft.tuners.lora import LoraLayer

    low_rank = {"r": adapter.rank, "lora_alpha": adapter.usual_alpha, "lora_dropout": adapter.dropout}
    inject_adapter_in_model(LoraConfig(**low_rank, target_modules=layers), network)
    for module in network.modules():
        if isinstance(module, LoraLayer):
            # Under autocast peft would copy each layer's input to float32, from which autocast makes another copy.
            module.cast_input_dtype_enabled = False


def _halve(network: VideoModel) -> None:
    """Hold frozen matrices in bfloat16: those that autocast rounds to it, so a step's result stays the same."""
    for module in network.modules():
        if _is_adaptable(module) and not module.weight.requires_grad:
            module.weight = nn.Parameter(module.weight.to(torch.bfloat16), requires_grad=False)


def low_rank_name(layer: str, half: int) -> str:
    """The name of a layer's A (0) or B (1) among the network's parameters."""
    return layer + _HALVES[half]


def is_low_rank(name: str) -> bool:
    """Whether a parameter's name is that of an A or a B."""
    return name.endswith(_HALVES)


def same_on_meta(network: VideoModel) -> VideoModel:
    """A network of the same architecture, with the same adapter if there is one, on the meta device."""
    with torch.device("meta"):
        copy = type(network).from_config(network.config)
        if network.adapter is not None:
            attach(copy, network.adapter, grown=[name for name in trained(network) if not is_low_rank(name)])
    return copy


def trained(network: VideoModel) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by name: all of them without an adapter."""
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def grown_since(had: Mapping[str, torch.Size], network: VideoModel) -> list[str]:
    """The parameters that a model of such shapes lacks, or has in another shape."""
    return [name for name, parameter in network.named_parameters() if had.get(name) != parameter.shape]


def _find_layers(network: VideoModel, targets: Sequence[str]) -> list[str]:
    """The full names of the layers; InputError if a target is not the end of one, or cannot be adapted."""
    modules = dict(network.named_modules())
    if not targets:
        raise InputError(
            f"adapter.targets: none are given, and {type(network).__name__} names none by itself. {_choice(modules)}"
        )
    found: dict[str, None] = {}
    for target in targets:
        matching = [name for name in modules if name == target or name.endswith(f".{target}")]
        if not matching:
            raise InputError(f"adapter.targets {target}: no layer's name ends so. {_choice(modules, target)}")
        layers = [name for name in matching if _is_adaptable(modules[name])]
        if not layers:
            inside = [target + name[len(matching[0]) :] for name in modules if name.startswith(f"{matching[0]}.")]
            raise InputError(
                f"adapter.targets {target}: this is a {type(modules[matching[0]]).__name__}, and LoRA adapts linear "
                f"layers and convolutions. {_choice(modules, target, inside)}"
            )
        found |= dict.fromkeys(layers)
    return list(found)


def _is_adaptable(module: nn.Module) -> TypeGuard[Adaptable]:
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        return module.groups == 1 and set(module.dilation) == {1}
    return isinstance(module, nn.Linear)


def _choice(modules: Mapping[str, nn.Module], target: str = "", inside: Sequence[str] = ()) -> str:
    """Names ``inside`` what a target names, or those most like it; without such, the most frequent ones."""
    names = [name for name, module in modules.items() if _is_adaptable(module)]
    ends = {end for name in names for end in _ends(name)}
    close = [name for name in inside if name in ends] or difflib.get_close_matches(target, sorted(ends), 3)
    if close:
        return f"Did you mean {' or '.join(close[:3])}?"
    usual = Counter(next(_ends(name)) for name in names).most_common(_NAMED)
    return f"There are {', '.join(end for end, _ in usual)}."


def _ends(name: str) -> Iterator[str]:
    """The ends of a name, shortest first; a number does not stand alone: ``to_q``, ``to_out.0``."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        if count == len(parts) or not parts[-count].isdigit():
            yield ".".join(parts[-count:])
