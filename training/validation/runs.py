"""Runs as a user names them: the folder of a run, one of its checkpoints, or a model folder; local or remote."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.errors import InputError, StorageError
from base.storage.folder import Folder
from base.weights import Weights
from models.folder import ModelFacts, load_facts, load_unet
from training.data.source import open_view
from training.network import check_facts
from training.run.checkpoints import Checkpoints
from training.run.job import CONFIG, read_description
from training.validation.measure import HeldOut

if TYPE_CHECKING:  # diffusers takes many seconds to import
    from models.videocrafter2.unet import VideoUNet

_CARD = "motif.json"
_IN_A_RUN = re.compile(r"^(?P<run>.+)/checkpoints/step-(?P<step>\d+)/model$")


@dataclass(frozen=True)
class Candidate:
    """A model to validate. ``trained_on`` are the datasets of its run; empty where no run is known."""

    name: str
    folder: Folder
    facts: ModelFacts
    trained_on: tuple[str, ...] = ()

    def takes_image_tokens(self) -> bool:
        """Whether its image condition is cross-attention."""
        unet = self.folder / "unet"
        if not unet.exists(CONFIG):  # loading will say so
            return False
        config = json.loads(unet.read(CONFIG))
        return config.get("image_condition") in ("cx-attn", "both")

    def load(self) -> "VideoUNet":
        """The network, float32, on the CPU, in evaluation mode."""
        return load_unet(self.weights())

    def weights(self) -> Path | Weights:
        """The model folder, as loaders take it."""
        return _local(self.folder)


def _local(folder: Folder) -> Path | Weights:
    return Weights(folder.uri) if folder.remote else folder.path


def find_candidates(uris: Sequence[str]) -> list[Candidate]:
    """The models that such folders hold, each under a name of its own.

    InputError where there is none, or where their schedules differ.
    """
    found = [_find(uri.rstrip("/")) for uri in uris]
    names = [candidate.name for candidate in found]
    for candidate, uri in zip(found[1:], uris[1:], strict=True):
        _check_same_task((uris[0], found[0].facts), (uri, candidate.facts))
    return [c if names.count(c.name) == 1 else replace(c, name=uri) for c, uri in zip(found, uris, strict=True)]


def _find(uri: str) -> Candidate:
    folder = Folder(uri)
    if folder.exists(CONFIG):
        config = read_description(folder)
        names = Checkpoints(folder, keep=1).names()
        if not names:
            raise InputError(
                f"{uri}: the run has no checkpoint yet. Wait for the first one (saves.every), or name another run."
            )
        return _candidate(run_name(uri), folder / "checkpoints" / names[-1] / "model", config)
    place = next((place for place in (folder, folder / "model") if place.exists(_CARD)), None)
    if place is None:
        raise InputError(
            f"{uri}: there is no run and no model there. Name the folder of a run, as `motif train --out` makes it, or "
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
    """What a run is called: its folder's name."""
    return uri.rstrip("/").rsplit("/", 1)[-1]


def _check_same_task(first: tuple[str, ModelFacts], other: tuple[str, ModelFacts]) -> None:
    (uri, facts), (other_uri, others) = first, other
    for field in sorted(facts.schedule.keys() | others.schedule.keys()):
        one, two = facts.schedule.get(field), others.schedule.get(field)
        if one != two:
            raise InputError(
                f"schedule.{field}: {uri} has {one}, {other_uri} has {two}, so their errors at one timestep answer "
                "different questions and cannot be compared. Validate them one by one."
            )


def check_fit(candidates: Sequence[Candidate], clips: HeldOut, timesteps: Sequence[int]) -> None:
    """InputError where a model was made for other features, or its schedule has not so many steps."""
    for candidate in candidates:
        check_facts(candidate.name, _local(candidate.folder), clips.source.facts)
        steps = int(candidate.facts.schedule["steps"])
        if timesteps[-1] >= steps:
            raise InputError(
                f"--timesteps {timesteps[-1]}: the schedule of {candidate.name} has {steps} steps, 0 to {steps - 1}."
            )


def check_held_out(candidates: Sequence[Candidate], clips: HeldOut, say: Callable[[str], None]) -> None:
    """InputError where a run was trained on clips that are to be held out; says so where that cannot be known.

    A clip is known by its content, so a copy of a dataset is found out too.
    """
    held = set(clips.clip_ids)
    for candidate in candidates:
        if not candidate.trained_on:
            say(f"{candidate.name} lies in no run's folder: whether it was trained on these clips is not known.")
        for uri in candidate.trained_on:
            shared = len(held & _clips_of(uri, candidate.name, say))
            if shared:
                raise InputError(
                    f"--data {clips.source.uri}: {candidate.name} was trained on {shared} of its {len(held)} clips, in "
                    f"{uri}. Hold out others (`motif dataset filter` makes a view), or measure all the same with "
                    "--allow-training-data."
                )


def _clips_of(uri: str, name: str, say: Callable[[str], None]) -> set[str]:
    try:
        return set(open_view(uri).clips().column("clip_id").to_pylist())
    except (InputError, StorageError) as error:
        say(f"{name} was trained on {uri}, so whether it saw these clips is not known: {error}")
        return set()
