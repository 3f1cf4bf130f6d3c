"""A model on disk: a folder in diffusers' layout, with ``motif.json`` for what diffusers has no place for.

    model_index.json          the parts and their classes
    motif.json                :class:`ModelCard`: what the model was made for, and where its frozen encoders are
    unet/                     config.json and safetensors, ``VideoUNet.from_pretrained(folder, subfolder="unet")``
    scheduler/                a DDIMScheduler's config
    vae/, text_encoder/       an AutoencoderKL; open_clip_model.safetensors
    image_encoder/            the same of the visual tower, for models that attend to the image

The encoders never change in training, so a training checkpoint holds none of them: its card names where they are. A
folder with one of its own uses that, whatever the card says. The toy size needs none.
"""

import contextlib
import json
import re
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from safetensors import SafetensorError

from base import config
from base.errors import InputError, StorageError, WeightsError
from base.storage.errors import explain
from base.storage.uri import is_remote, local_path
from base.weights import Weights, locate
from diffusion.options import Sampling
from diffusion.schedule import Schedule
from models.misfits import misfits

if TYPE_CHECKING:  # diffusers takes seconds and hundreds of megabytes to import: only where a model is loaded
    from models.videocrafter2.unet import VideoUNet

Part = Literal["vae", "text_encoder", "image_encoder"]
BASE_MODEL = "models/videocrafter2"
"""The folder that `motif fetch` writes, and that preprocessing and training take a model from by default."""
_FORMAT = 1
_HERE = "."  # as a part's source: this folder itself, wherever it was copied to
_UNET_FILES = (("config.json",), ("diffusion_pytorch_model.safetensors",))


@dataclass(frozen=True)
class ModelFacts:
    """What a model works in and was made for, beside its weights.

    ``latents``, ``text`` and ``image`` are the encoders' identities, as a feature dataset records them (``image`` is
    empty where the network takes no image tokens); ``schedule`` the fields
    of :class:`~diffusion.schedule.Schedule`; ``frames``, ``height`` and ``width`` the grid of latents;
    ``fps`` the range of frame rates (of training: 5th to 95th percentile of the clips) and ``usual_fps`` their median,
    which models of earlier versions have not; ``step`` the training step; ``origin`` one line on where the weights come
    from;
    ``sampling`` how to sample where nobody says otherwise.
    """

    latents: dict[str, Any]
    scaling_factor: float
    text: dict[str, Any]
    schedule: dict[str, Any]
    frames: int
    height: int
    width: int
    step: int = 0
    origin: str = ""
    fps: tuple[float, float] = (4.0, 32.0)
    usual_fps: float | None = None
    sampling: Sampling = Sampling()
    image: dict[str, Any] = field(default_factory=dict)

    @property
    def default_fps(self) -> float:
        """The frame rate of a video by default: the median of the training's, or else the middle of the range."""
        return sum(self.fps) / 2 if self.usual_fps is None else self.usual_fps


@dataclass(frozen=True)
class ModelCard:
    """The contents of ``motif.json``."""

    facts: ModelFacts
    vae: Weights | None = None
    text_encoder: Weights | None = None
    image_encoder: Weights | None = None
    format: int = _FORMAT


def check_new(target: Path) -> None:
    """InputError where a folder that is to be written exists and is not empty, or is a file."""
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise InputError(f"{target} exists and is not empty: give the path of a new folder.")


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes ``target`` when all went well, and vanishes when not.

    InputError where ``target`` exists and is not empty; StorageError, in one sentence, where the disk refuses.
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
    """Turn what a disk refuses into StorageError; safetensors wraps the system's error in text of its own."""
    try:
        yield
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        refused = explain(OSError(int(number[1]), str(error)), str(target)) if number else None
        raise refused or StorageError(f"{target}: {error}.") from error
    except OSError as error:
        raise explain(error, str(target)) or StorageError(f"{target}: {error}.") from error


def need_room(folder: Path, size: int) -> None:
    """StorageError where a disk has less free than ``size`` bytes."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise StorageError(
            f"{folder.parent}: {size / 2**30:.1f} GiB are to be written and {free / 2**30:.1f} GiB are free: "
            "free space, or choose another disk."
        )


def save_model(target: Path, unet: "VideoUNet", card: ModelCard) -> None:
    """Write a new model folder, whole or not at all; ``card`` says where the frozen parts are.

    Tensors keep their type. A local source is written down with its full path. InputError where ``target`` is in use,
    StorageError where the disk refuses.
    """
    with new_folder(target) as folder:
        write_model(folder, unet, card)


def write_model(folder: Path, unet: "VideoUNet", card: ModelCard) -> None:
    """The same into a folder that is there, beside the parts that it has."""
    schedule = Schedule(**card.facts.schedule).scheduler_config()
    settled: dict[str, Any] = {part: _settled(folder, part, getattr(card, part)) for part in get_args(Part)}
    card = replace(card, **settled)
    (folder / "scheduler").mkdir(parents=True, exist_ok=True)
    unet.save_pretrained(folder / "unet")
    _write(folder / "scheduler" / "scheduler_config.json", {"_class_name": "DDIMScheduler", **schedule})
    _write(folder / "model_index.json", _index(folder))
    _write(folder / "motif.json", config.to_json(card))


def _settled(folder: Path, part: Part, weights: Weights | None) -> Weights | None:
    if (folder / part).is_dir():
        return Weights(_HERE, subfolder=part)
    if weights is None or is_remote(weights.source) or not local_path(weights.source).exists():
        return weights
    return Weights(str(local_path(weights.source).resolve()), weights.revision, weights.subfolder)


def _index(folder: Path) -> dict[str, Any]:
    parts = {
        "text_encoder": ["models.encoders.text", "ClipText"],
        "image_encoder": ["models.encoders.image", "ClipImage"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    return {
        "_class_name": "DiffusionPipeline",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "unet": ["models.videocrafter2.unet", "VideoUNet"],
        **{part: named if (folder / part).is_dir() else [None, None] for part, named in parts.items()},
    }


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def load_unet(model: Path | Weights, dtype: torch.dtype = torch.float32) -> "VideoUNet":
    """The U-Net of a model folder, in evaluation mode on the CPU; WeightsError where it is missing or does not fit."""
    from safetensors.torch import load_file

    from models.videocrafter2.unet import VideoUNet

    settings, tensors = _bring(model, "unet", _UNET_FILES, "U-Net")
    described = json.loads(settings.read_text())
    if described.get("_class_name") != "VideoUNet":
        raise WeightsError(
            f"U-Net: {settings} describes a {described.get('_class_name')}, not a VideoUNet. Make a model folder with "
            "`motif convert` or `motif train`."
        )
    with torch.device("meta"):
        unet: VideoUNet = VideoUNet.from_config(described)
    try:
        state = load_file(tensors)
    except SafetensorError as error:
        raise WeightsError(f"U-Net: {tensors} cannot be read ({error}): bring it again, it is incomplete.") from error
    expected = {name: tensor.shape for name, tensor in unet.state_dict().items()}
    if wrong := misfits(expected, {name: tensor.shape for name, tensor in state.items()}):
        raise WeightsError(f"U-Net: {tensors} does not fit its config.json: {wrong}. Bring both from one model.")
    # Cast before: diffusers warns where a model as a whole is, of a list of exceptions that is empty.
    unet.load_state_dict({name: tensor.to(dtype) for name, tensor in state.items()}, assign=True)
    unet.eval()
    return unet


def load_facts(model: Path | Weights) -> ModelFacts:
    """What ``motif.json`` says; WeightsError where it is missing or of another version."""
    return _card(model).facts


def revision(model: Path | Weights) -> str:
    """Which bytes a model's network is: the start of their hash. That of a large file is remembered."""
    place = model if isinstance(model, Weights) else Weights(str(model))
    return locate(_inside(place, "unet"), _UNET_FILES, "U-Net").sha256[:12]


def find_part(model: Path | Weights, part: Part) -> Weights:
    """Where a model's autoencoder or text encoder is; WeightsError where neither folder nor card knows one."""
    place = model if isinstance(model, Weights) else Weights(str(model))
    inside = _inside(place, part)
    if not is_remote(place.source) and (local_path(place.source) / inside.subfolder).is_dir():
        return inside
    named: Weights | None = getattr(_card(model), part)
    if named is None:
        raise WeightsError(
            f"{place.source} has no {part} and names none: copy the {part} folder of the model that it was trained "
            "from into it."
        )
    return inside if named.source == _HERE else named


def find_base_part(base_model: str, part: Part) -> Weights:
    """Where a part of the base model is; WeightsError with the commands that make the model where it is missing."""
    if not is_remote(base_model) and not local_path(base_model).is_dir():
        raise WeightsError(no_base_model("--base-model", base_model))
    return find_part(Weights(base_model if is_remote(base_model) else str(local_path(base_model))), part)


def no_base_model(option: str, folder: str) -> str:
    """What to say where the model folder that an option names is missing."""
    return (
        f"{option} {folder}: there is no such folder. Bring the base model with `motif fetch videocrafter2 --out "
        f"{folder}`, or make it of a checkpoint that you have with `motif convert videocrafter2 model.ckpt {folder}`."
    )


def _card(model: Path | Weights) -> ModelCard:
    (path,) = _bring(model, "", (("motif.json",),), "model folder")
    try:
        card = config.load(path.read_text())
    except InputError as error:
        raise WeightsError(f"{path}: {error} Was it written by another version of motif?") from error
    if not isinstance(card, ModelCard) or card.format != _FORMAT:
        raise WeightsError(f"{path} is no card of format {_FORMAT}: read it with the version of motif that wrote it.")
    return card


def _bring(model: Path | Weights, part: str, wanted: tuple[tuple[str, ...], ...], purpose: str) -> tuple[Path, ...]:
    """The files of a part, on this machine. Those of a local folder are not hashed: gigabytes, for nothing."""
    if isinstance(model, Weights):
        return locate(_inside(model, part), wanted, purpose).files
    paths = tuple(model / part / names[0] for names in wanted)
    for path in paths:
        if not path.is_file():
            raise WeightsError(
                f"{purpose}: there is no {path}. Give the path of a model folder, as `motif convert` and `motif train` "
                "write them."
            )
    return paths


def _inside(model: Weights, part: str) -> Weights:
    return Weights(model.source, model.revision, f"{model.subfolder}/{part}".strip("/"))
