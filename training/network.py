"""The network of a run: builds it, loads its initial weights, and checks that it fits the data."""

from pathlib import Path
from typing import Any

import torch

from base.errors import InputError, WeightsError
from base.storage.uri import is_remote, local_path
from base.weights import Weights
from models.adapters.attach import attach, grown_since
from models.adapters.lora import Lora
from models.card import Part
from models.encoders.same_weights import Recorded, same_weights, unlike_settings
from models.folder import (
    describe_base,
    find_part,
    load_backbone,
    load_facts,
    load_network,
    load_network_config,
)
from models.misfits import no_base_model
from models.video_model import BACKBONES, Backbone, DataShapes, VideoModel
from training.data.source import ENCODERS, SourceFacts

# The shapes of the paper's data, for a dry run without data.
PAPER = SourceFacts(
    latents={}, scaling_factor=0.18215, shape=(4, 16, 40, 64), pixels=(320, 512), text={}, text_shape=(77, 1024),
    image_shape=(257, 1280),
)  # fmt: skip


def start_model(start: str) -> Path | Weights:
    """The model folder of ``network.start``, local or remote, as loaders expect it."""
    return Weights(start) if is_remote(start) else local_path(start)


def _is_missing(folder: Path | Weights) -> bool:
    """Whether a local folder is not there; of a remote one, its loader says so."""
    return isinstance(folder, Path) and not folder.exists()


def build_network(backbone: Backbone, facts: SourceFacts, seed: int, adapter: Lora | None = None) -> VideoModel:
    """The network with its initial weights, on the CPU, in float32, and with its adapter if there is one.

    InputError if they do not fit.
    """
    if not backbone.start and adapter is None:
        torch.manual_seed(seed)
        return backbone.new(facts.shapes)
    check_start(backbone, facts, adapter)
    loaded = load_network(start_model(backbone.start), torch.float32)
    torch.manual_seed(seed)
    return _adapted(backbone, loaded, facts.shapes, adapter)


def outline(backbone: Backbone, shapes: DataShapes, adapter: Lora | None = None) -> VideoModel:
    """The network of a run on the meta device, of the recipe's sizes.

    With an adapter of the start model's, if that is there, to know what the network has beyond it.
    """
    start = start_model(backbone.start) if backbone.start else None
    with torch.device("meta"):
        if adapter is None or start is None or _is_missing(start):
            base = backbone.new(shapes)
        else:
            _check_fit(backbone, start)
            base = BACKBONES[backbone.name].network().from_config(load_network_config(start))
        return base if adapter is None else _adapted(backbone, base, shapes, adapter)


def _adapted(backbone: Backbone, loaded: VideoModel, shapes: DataShapes, adapter: Lora | None) -> VideoModel:
    had = {name: parameter.shape for name, parameter in loaded.named_parameters()}
    network = backbone.adapt(loaded, shapes)
    if adapter is not None:
        attach(network, adapter, backbone.lora_targets, grown_since(had, network))
    return network


def check_start(backbone: Backbone, facts: SourceFacts, adapter: Lora | None = None) -> None:
    """InputError if the network cannot fit the data, or if its start model is missing or does not match the data, or
    cannot have the adapter.
    """
    if backbone.name not in BACKBONES:
        raise InputError(
            f"network: {backbone.name} is not registered, so its model could not be loaded again. Add a line to "
            "BACKBONES in models/video_model.py."
        )
    backbone.check(facts.shapes)
    if adapter is not None and not backbone.start:
        raise InputError(
            "adapter lora: it belongs to a model whose weights it leaves as they are, and network.start is empty. Give "
            "a model folder with --base-model, or train all weights with --adapter none."
        )
    if not backbone.start:
        return
    folder = start_model(backbone.start)
    if _is_missing(folder):
        raise InputError(
            f"{no_base_model('--base-model', backbone.start)} Give an empty --base-model to start from random weights."
        )
    check_facts(backbone.start, folder, facts, any_grid=backbone.any_grid)
    _check_fit(backbone, folder)
    if adapter is not None:
        describe_base(folder)


def _check_fit(backbone: Backbone, folder: Path | Weights) -> None:
    """InputError if the start model is of another backbone, or has another image condition."""
    if load_backbone(folder) != backbone.name:
        raise InputError(
            f"network.start {backbone.start}: its backbone is {load_backbone(folder)}, the recipe's {backbone.name}. "
            "Start from a model of that backbone, or use a recipe with the model's."
        )
    if misfit := backbone.misfit(load_network_config(folder)):
        raise InputError(misfit)


def check_facts(name: str, folder: Path | Weights, data: SourceFacts, *, any_grid: bool = False) -> None:
    """InputError if a model and the data differ in latent space, encoders or, unless it takes any, size."""
    model = load_facts(folder)
    for kind, part in ENCODERS.items():
        first = Recorded(getattr(model, kind), _find(folder, part))
        other = Recorded(getattr(data, kind), data.encoders.get(kind))
        for key in unlike_settings(first.identity, other.identity):
            raise _unlike(name, f"{kind}.{key}", first.identity[key], other.identity[key])
        if first.identity and other.identity and not same_weights(kind, first, other):
            raise _unlike(name, f"weights of {kind}", f"those of {first.describe()}", f"those of {other.describe()}")
    compared: list[tuple[str, Any, Any]] = [
        ("scaling_factor", model.scaling_factor, data.scaling_factor),
    ]
    if not any_grid:
        compared.append(("t h w of latents", (model.frames, model.height, model.width), data.shape[1:]))
    for field, of_model, of_data in compared:
        if of_model != of_data:
            raise _unlike(name, field, of_model, of_data)


def _find(folder: Path | Weights, part: Part) -> Weights | None:
    try:
        return find_part(folder, part)
    except WeightsError:
        return None  # encoders without weights


def _unlike(name: str, field: str, of_model: Any, of_data: Any) -> InputError:
    return InputError(
        f"{field}: the model {name} has {of_model}, the dataset {of_data}. Preprocess the videos at the model's size "
        f"with its own encoders (`motif preprocess ... --base-model {name}`), or start from another model."
    )
