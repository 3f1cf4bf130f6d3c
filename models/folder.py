"""A model on disk: a folder in diffusers' layout, with ``motif.json`` for everything that diffusers does not cover.

    model_index.json          the parts and their classes
    motif.json                :class:`ModelCard`: what the model was made for, and where its frozen encoders are
    unet/, transformer/ ...   config.json and safetensors of the network, in the folder of its backbone; of an adapter,
                              the adapter's tensors alone: the card refers to its base (:mod:`models.adapters`)
    scheduler/                the config of diffusers' scheduler for the same process
    vae/, text_encoder/       an AutoencoderKL; open_clip_model.safetensors
    image_encoder/            the same of the visual tower, for models that attend to the image

The encoders do not change in training, so a training checkpoint contains none of them: its card refers to them. An
encoder inside the folder takes precedence over the card. The toy size needs none.
"""

import contextlib
import hashlib
import json
import re
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError

from base import config
from base.errors import InputError, StorageError, WeightsError
from base.storage.errors import explain
from base.storage.uri import is_remote, local_path
from base.tensor_hash import tensor_hash
from base.weights import Weights, locate
from models.adapters.files import LORA_FILE, AdapterTensors, read_adapter, save_network
from models.card import FORMAT, Base, ModelCard, ModelFacts, Part
from models.misfits import no_base_model
from models.network_files import filled_network, read_network, read_tensors
from models.video_model import BACKBONES, VideoModel, backbone_of

_HERE = "."  # as a part's source: this folder itself, which may be moved
_CONFIG = ("config.json",)
_NETWORK_FILES = (_CONFIG, ("diffusion_pytorch_model.safetensors",))
_ADAPTER_FILES = (_CONFIG, (LORA_FILE,))


def check_new(target: Path) -> None:
    """InputError if the target folder exists and is not empty, or is a file."""
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise InputError(f"{target} exists and is not empty: give the path of a new folder.")


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes ``target`` on success and is removed on failure.

    InputError if ``target`` exists and is not empty; StorageError for disk errors.
    """
    check_new(target)
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.tmp"
    with disk_errors(target):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            temporary.replace(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def disk_errors(target: Path | str) -> Iterator[None]:
    """Turn disk errors into StorageError; safetensors wraps the system's error in its own text."""
    try:
        yield
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        refused = explain(OSError(int(number[1]), str(error)), str(target)) if number else None
        raise refused or StorageError(f"{target}: {error}.") from error
    except OSError as error:
        raise explain(error, str(target)) or StorageError(f"{target}: {error}.") from error


def need_room(folder: Path, size: int) -> None:
    """StorageError if a disk has less than ``size`` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise StorageError(
            f"{folder.parent}: {size / 2**30:.1f} GiB are needed and {free / 2**30:.1f} GiB are free: "
            "free space, or choose another disk."
        )


def save_model(target: Path, network: VideoModel, card: ModelCard) -> None:
    """Write a new model folder atomically; ``card`` refers to the frozen parts.

    Tensors keep their dtype. Local sources are stored with their full path. InputError if ``target`` is in use,
    StorageError for disk errors.
    """
    with new_folder(target) as folder:
        write_model(folder, network, card)


def write_model(folder: Path, network: VideoModel, card: ModelCard) -> None:
    """The same into an existing folder, keeping its other parts."""
    resolved: dict[str, Any] = {part: _resolved(folder, part, getattr(card, part)) for part in get_args(Part)}
    card = replace(card, backbone=backbone_of(network), **resolved)
    scheduler = card.facts.schedule.scheduler_config()
    (folder / "scheduler").mkdir(parents=True, exist_ok=True)
    assert (network.adapter is None) == (card.base is None), "an adapter has a base"
    save_network(folder / BACKBONES[card.backbone].part, network)
    _write(folder / "scheduler" / "scheduler_config.json", scheduler)
    _write(folder / "model_index.json", _index(folder, card.backbone, scheduler["_class_name"]))
    _write(folder / "motif.json", config.to_json(card))


def _resolved(folder: Path, part: Part, weights: Weights | None) -> Weights | None:
    if (folder / part).is_dir():
        return Weights(_HERE, subfolder=part)
    if weights is None or is_remote(weights.source) or not local_path(weights.source).exists():
        return weights
    return Weights(str(local_path(weights.source).resolve()), weights.revision, weights.subfolder)


def _index(folder: Path, backbone: str, scheduler: str) -> dict[str, Any]:
    parts = {
        "text_encoder": ["models.encoders.clip_text", "ClipText"],
        "image_encoder": ["models.encoders.clip_image", "ClipImage"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    registered = BACKBONES[backbone]
    return {
        "_class_name": "DiffusionPipeline",
        "scheduler": ["diffusers", scheduler],
        registered.part: registered.place.split(":"),
        **{part: named if (folder / part).is_dir() else [None, None] for part, named in parts.items()},
    }


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def load_network(model: Path | Weights, dtype: torch.dtype = torch.float32, base: Weights | None = None) -> VideoModel:
    """The network of a model folder, in evaluation mode on the CPU; an adapter is merged into its base.

    ``base`` is where the base is now, if not where the card says. WeightsError if anything is missing, does not match
    its config, or is not the base that the adapter was trained on.
    """
    card = load_card(model)
    registered = BACKBONES[card.backbone]
    settings, tensors = _bring(model, registered.part, _wanted(card), "network")
    if card.base is None:
        return read_network(registered.network(), settings, [tensors], dtype)
    found = _bring(check_base(model, base), registered.part, _NETWORK_FILES, "network")[1]
    merged = load_adapter(model).merged(read_tensors([found]), str(tensors))
    return filled_network(registered.network(), settings, merged, str(tensors), dtype)


def load_adapter(model: Path | Weights) -> AdapterTensors:
    """The tensors of a model that is an adapter. WeightsError if they are missing or damaged."""
    part = BACKBONES[load_card(model).backbone].part
    return read_adapter(_bring(model, part, _ADAPTER_FILES, "network")[1], part)


def _wanted(card: ModelCard) -> tuple[tuple[str, ...], ...]:
    return _NETWORK_FILES if card.base is None else _ADAPTER_FILES


def describe_base(model: Path | Weights) -> Base:
    """What the card of an adapter says of the model that it belongs to. InputError if that is itself an adapter."""
    place = model if isinstance(model, Weights) else Weights(str(model.resolve()))
    if load_card(place).base is not None:
        raise InputError(
            f"{place.source} is an adapter itself. Write it as a whole model first (`motif export {place.source} --out "
            "FOLDER`), and give that."
        )
    files = _bring(place, BACKBONES[load_card(place).backbone].part, _NETWORK_FILES, "network")
    return Base(place, tensor_hash([files[1]], "network"))


def check_base(model: Path | Weights, place: Weights | None = None) -> Weights:
    """Where the base of an adapter is; ``place`` instead of what the card says. WeightsError if another model is there.

    (The hash of a base is cached.)
    """
    recorded, name = load_card(model).base, model.source if isinstance(model, Weights) else str(model)
    assert recorded is not None, "only for adapters"
    base = place or recorded.weights
    if not is_remote(base.source) and not local_path(base.source).exists():
        raise WeightsError(
            f"{name} is an adapter of {base.source}, which is not here. Copy that model there, or write a whole "
            f"model with `motif export {name} --base-model WHERE_IT_IS --out FOLDER`."
        )
    if (there := describe_base(base).tensors) != recorded.tensors:
        raise WeightsError(
            f"{name} is an adapter of another model than {base.source}, or that has changed since: its base has the "
            f"tensors {recorded.tensors[:19]}, and these are {there[:19]}. Give the model that it was trained on."
        )
    return base


def network_files(model: Path | Weights) -> tuple[str, ...]:
    """The paths of the network's config and weights inside a model folder."""
    card = load_card(model)
    return tuple(f"{BACKBONES[card.backbone].part}/{names[0]}" for names in _wanted(card))


def load_network_config(model: Path | Weights) -> dict[str, Any]:
    """The network's config.json; WeightsError if it is missing."""
    (path,) = _bring(model, BACKBONES[load_card(model).backbone].part, (_CONFIG,), "network")
    return dict(json.loads(path.read_text()))


def takes_image(model: Path | Weights) -> bool:
    """Whether a model is given the first frame of its videos, by its network's config.json alone.

    WeightsError if that is missing.
    """
    return BACKBONES[load_card(model).backbone].takes_image(load_network_config(model))


def load_backbone(model: Path | Weights) -> str:
    """The name of a model's backbone."""
    return load_card(model).backbone


def load_facts(model: Path | Weights) -> ModelFacts:
    """The facts of ``motif.json``; WeightsError if it is missing or has another version."""
    return load_card(model).facts


def revision(model: Path | Weights) -> str:
    """The start of the hash of a model's network files (cached for large files); of an adapter with its base."""
    place = model if isinstance(model, Weights) else Weights(str(model))
    card = load_card(place)
    found = locate(_inside(place, BACKBONES[card.backbone].part), _wanted(card), "network").sha256
    return (found if card.base is None else hashlib.sha256(f"{found} {card.base.tensors}".encode()).hexdigest())[:12]


def find_part(model: Path | Weights, part: Part) -> Weights:
    """The source of a model's encoder; WeightsError if neither folder nor card has one."""
    place = model if isinstance(model, Weights) else Weights(str(model))
    inside = _inside(place, part)
    if not is_remote(place.source) and (local_path(place.source) / inside.subfolder).is_dir():
        return inside
    named: Weights | None = getattr(load_card(model), part)
    if named is None:
        raise WeightsError(
            f"{place.source} has no {part} and refers to none: copy the {part} folder of the model that it was trained "
            "from into it."
        )
    return inside if named.source == _HERE else named


def find_base_part(base_model: str, part: Part) -> Weights:
    """The source of a part of the base model; WeightsError with the commands that create a missing model."""
    if not is_remote(base_model) and not local_path(base_model).is_dir():
        raise WeightsError(no_base_model("--base-model", base_model))
    return find_part(Weights(base_model if is_remote(base_model) else str(local_path(base_model))), part)


def load_card(model: Path | Weights) -> ModelCard:
    """The contents of ``motif.json``; WeightsError if it is missing or has another version."""
    (path,) = _bring(model, "", (("motif.json",),), "model folder")
    try:
        card = config.load(path.read_text())
    except InputError as error:
        said = str(error).rstrip(".")
        raise WeightsError(f"{path}: {said}. Was it written by another version of motif?") from error
    if not isinstance(card, ModelCard) or card.format != FORMAT:
        raise WeightsError(f"{path} is not a card of format {FORMAT}: use the version of motif that wrote it.")
    if card.backbone not in BACKBONES:
        known = ", ".join(BACKBONES)
        raise WeightsError(f"{path}: backbone {card.backbone} is not one of {known}. Use the version that wrote it.")
    return card


def _bring(model: Path | Weights, part: str, wanted: tuple[tuple[str, ...], ...], purpose: str) -> tuple[Path, ...]:
    """The files of a part, on this machine."""
    if isinstance(model, Weights):
        return locate(_inside(model, part), wanted, purpose).files
    paths = tuple(model / part / names[0] for names in wanted)
    for path in paths:
        if not path.is_file():
            raise WeightsError(
                f"{purpose}: there is no {path}. Give a model folder, as written by `motif convert` and `motif train`."
            )
    return paths


def _inside(model: Weights, part: str) -> Weights:
    return Weights(model.source, model.revision, f"{model.subfolder}/{part}".strip("/"))
