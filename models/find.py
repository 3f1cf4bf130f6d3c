"""Finds models by a user's path: the folder of a run, one of its checkpoints, or a model folder; local or remote."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from base.errors import InputError
from base.storage.folder import Folder
from base.weights import Weights
from models.card import ModelFacts
from models.folder import load_facts, load_network, takes_image
from models.run_folder import CHECKPOINTS, CONFIG, MODEL, checkpoint_names, read_description
from models.video_model import VideoModel

_CARD = "motif.json"
_IN_A_RUN = re.compile(r"^(?P<run>.+)/checkpoints/step-(?P<step>\d+)/model$")


@dataclass(frozen=True)
class Candidate:
    """A model. ``trained_on`` are the datasets of its run; empty if its run is unknown."""

    name: str
    folder: Folder
    facts: ModelFacts
    trained_on: tuple[str, ...] = ()

    def takes_image_tokens(self) -> bool:
        """Whether its network takes image tokens."""
        return bool(self.facts.image)

    def takes_image(self) -> bool:
        """Whether its videos begin with a picture; those of a text-to-video model do not."""
        return takes_image(self.weights())

    def takes_motion_level(self) -> bool:
        """Whether its videos are asked for with a motion level."""
        return self.facts.default_motion_level is not None

    def load(self) -> VideoModel:
        """The network, float32, on the CPU, in evaluation mode."""
        return load_network(self.weights())

    def weights(self) -> Path | Weights:
        """The model folder, as loaders expect it."""
        return _local(self.folder)


def _local(folder: Folder) -> Path | Weights:
    return Weights(folder.uri) if folder.remote else folder.path


def find_candidates(uris: Sequence[str]) -> list[Candidate]:
    """The models in such folders, with unique names; InputError if a folder has none."""
    found = [_find(uri.rstrip("/")) for uri in uris]
    names = [candidate.name for candidate in found]
    return [c if names.count(c.name) == 1 else replace(c, name=uri) for c, uri in zip(found, uris, strict=True)]


def _find(uri: str) -> Candidate:
    folder = Folder(uri)
    if folder.exists(CONFIG):
        config = read_description(folder)
        names = checkpoint_names(folder)
        if not names:
            raise InputError(
                f"{uri}: the run has no checkpoint yet. Wait for the first one (saves.every), or give another run."
            )
        return _candidate(run_name(uri), folder / CHECKPOINTS / names[-1] / MODEL, config)
    place = next((place for place in (folder, folder / MODEL) if place.exists(_CARD)), None)
    if place is None:
        raise InputError(
            f"{uri}: neither a run nor a model. Give the folder of a run, as written by `motif train --out`, or "
            "a model folder."
        )
    inside = _IN_A_RUN.match(place.uri)
    if inside is None:
        return _candidate(run_name(uri), place, {})
    run = Folder(inside["run"])
    config = read_description(run) if run.exists(CONFIG) else {}
    return _candidate(f"{run_name(run.uri)} step {int(inside['step'])}", place, config)


def _candidate(name: str, folder: Folder, config: dict[str, Any]) -> Candidate:
    trained_on = tuple(str(data["uri"]) for data in config.get("data", {}).values())
    return Candidate(name, folder, load_facts(_local(folder)), trained_on)


def run_name(uri: str) -> str:
    """The name of a run: its folder's name."""
    return uri.rstrip("/").rsplit("/", 1)[-1]
