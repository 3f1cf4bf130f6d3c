"""Adapters to and from other programs: a run's model as a whole or its adapter alone, and the adapter of another."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch

from base.errors import InputError, WeightsError
from base.weights import Weights
from models.adapters.attach import attach, low_rank_name
from models.adapters.files import read_adapter, write_adapter
from models.card import Part
from models.folder import (
    check_new,
    describe_base,
    disk_errors,
    find_part,
    load_adapter,
    load_card,
    load_network,
    load_network_config,
    save_model,
)
from models.video_model import BACKBONES


def export_model(model: Path | Weights, out: Path, base: Weights | None = None) -> None:
    """Write a model folder that holds the whole network; encoders stay where they are.

    ``base`` is where the base of an adapter is now. InputError if ``out`` is in use, WeightsError if the base is
    another one.
    """
    parts: dict[str, Any] = {part: _source(model, part) for part in get_args(Part)}
    save_model(out, load_network(model, base=base), replace(load_card(model), base=None, **parts))


def _source(model: Path | Weights, part: Part) -> Weights | None:
    try:
        return find_part(model, part)
    except WeightsError:
        return None  # it has no such encoder


def export_lora(model: Path | Weights, out: Path) -> list[str]:
    """Write an adapter as one file in diffusers' names; returns the names of parameters that are no LoRA.

    InputError if the model is no adapter, or if the file is there.
    """
    if load_card(model).base is None:
        raise InputError(f"{_name(model)} is a whole model, not an adapter: give a folder, not a file, to write it to.")
    if out.exists():
        raise InputError(f"{out} exists: give the path of a new file.")
    tensors = load_adapter(model)
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_adapter(out, tensors, BACKBONES[load_card(model).backbone].part)
    return list(tensors.whole)


def import_lora(path: Path, base: Path | Weights, out: Path) -> None:
    """Write a model folder of an adapter that another program trained on the model ``base``, in diffusers' names.

    WeightsError if it does not fit; InputError if ``out`` is in use, or the base is an adapter itself.
    """
    check_new(out)
    recorded, card = describe_base(base), load_card(base)
    registered = BACKBONES[card.backbone]
    tensors = read_adapter(path, registered.part)
    with torch.device("meta"):
        network = registered.network().from_config(load_network_config(base))
    tensors.check(network.state_dict(), str(path))
    if tensors.whole:
        raise WeightsError(
            f"{path} has whole parameters beside its LoRA, such as {next(iter(tensors.whole))}: take the model from "
            "which it was exported."
        )
    attach(network, tensors.adapter)
    halves = {low_rank_name(layer, n): half for layer, pair in tensors.layers.items() for n, half in enumerate(pair)}
    network.load_state_dict(halves, assign=True, strict=False)
    parts: dict[str, Any] = {part: _source(base, part) for part in get_args(Part)}
    save_model(out, network, replace(card, base=recorded, **parts))


def _name(model: Path | Weights) -> str:
    return model.source if isinstance(model, Weights) else str(model)
