"""What a training run's folder records: settings, data, steps, launches, its newest checkpoint."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open

from base.errors import InputError
from base.storage.folder import Folder
from models.find import run_name
from models.run_folder import CHECKPOINTS, CONFIG, MODEL, checkpoint_names, read_description
from training.run.job import LAUNCHES
from training.run.tracking import read_metrics


@dataclass(frozen=True)
class Dataset:
    """A dataset or view that a run trains on; the digest is one of its clips and their order."""

    uri: str
    clips: int
    digest: str


@dataclass(frozen=True)
class Launch:
    """When, from which step on, by which command (if any) and which software a run was launched."""

    time: str
    step: int
    command: str | None
    software: dict[str, str]


@dataclass(frozen=True)
class Run:
    """A run. ``name`` is its folder's name, or the folder itself if two runs have the same."""

    name: str
    folder: Folder
    config: dict[str, Any]
    """The settings that it was trained with, as stored."""
    data: tuple[Dataset, ...]
    steps: list[dict[str, Any]]
    """The values of each step; the first one is step 0."""
    launches: tuple[Launch, ...]
    """Empty in runs of earlier versions."""
    checkpoint: int | None
    """The step of the newest checkpoint."""
    parameters: int | None
    """None if there is no checkpoint on this machine."""

    @property
    def done(self) -> int:
        """Steps taken."""
        return int(self.steps[-1]["step"]) + 1 if self.steps else self.checkpoint or 0

    @property
    def is_complete(self) -> bool:
        """Whether it has taken all of its steps."""
        return self.done >= int(self.config["steps"])


def read_runs(uris: Sequence[str]) -> list[Run]:
    """The runs in folders. InputError if one is none, is damaged, or is given twice."""
    folders = [Folder(uri.rstrip("/")) for uri in uris]
    places = [folder.absolute().uri for folder in folders]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise InputError(f"{uris[number]} is given twice: give each run once.")
    names = [run_name(place) for place in places]
    return [
        _read(name if names.count(name) == 1 else folder.uri, folder)
        for name, folder in zip(names, folders, strict=True)
    ]


def _read(name: str, folder: Folder) -> Run:
    described = read_description(folder)
    config, data = described["config"], described["data"]
    try:
        datasets = TypeAdapter(dict[str, Dataset]).validate_python(data)
        if not (isinstance(config["steps"], int) and isinstance(config["batch"], int)):
            raise ValueError("steps and batch must be whole numbers")
        dict(config["network"]), dict(config["loss"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{folder.uri}: its {CONFIG} is damaged, or of another version of motif. Restore it, or leave this run out."
        ) from error
    names = checkpoint_names(folder)
    return Run(
        name=name,
        folder=folder,
        config=config,
        data=tuple(datasets.values()),
        steps=read_metrics(folder),
        launches=_launches(folder),
        checkpoint=int(names[-1].rpartition("-")[2]) if names else None,
        parameters=_parameters(folder / CHECKPOINTS / names[-1] / MODEL) if names and not folder.remote else None,
    )


def _launches(folder: Folder) -> tuple[Launch, ...]:
    if not folder.exists(LAUNCHES):
        return ()
    try:
        return tuple(TypeAdapter(Launch).validate_json(line) for line in folder.read(LAUNCHES).splitlines())
    except ValueError as error:
        raise InputError(
            f"{folder.file(LAUNCHES)} is damaged, or of another version of motif. Move it away; the report then lacks "
            "the run's own commands."
        ) from error


def _parameters(model: Folder) -> int | None:
    """How many numbers a model folder's networks have; None if it has no weights."""
    files = sorted(model.path.glob("*/*.safetensors"))
    count = 0
    for path in files:
        try:
            with safe_open(path, framework="numpy") as file:
                names = file.keys()
                count += sum(math.prod(file.get_slice(name).get_shape()) for name in names)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} cannot be read ({error}). Delete this checkpoint's folder.") from error
    return count if files else None
