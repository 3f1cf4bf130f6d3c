"""Opens the observers whose weights are given, and says why the observations of the others are absent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from evaluation.metrics.networks.aesthetic import load_aesthetic
from evaluation.metrics.networks.clip import Clip, load_clip
from evaluation.metrics.networks.dino import load_dino
from evaluation.metrics.networks.flow import load_dis, load_raft
from evaluation.metrics.observe import (
    ClipObserver,
    Decoded,
    DinoObserver,
    FlowObserver,
    Observations,
    Observer,
    RatingObserver,
    observe_frames,
)
from evaluation.metrics.settings import Settings


@dataclass(frozen=True)
class Observers:
    """The observers of a measurement."""

    observers: tuple[Observer, ...]
    absent: Mapping[str, str]
    """Observations that there are not -> why."""
    weights: Mapping[str, str]
    """Names of networks -> the hash of their weights."""

    def observe(self, video: Decoded) -> tuple[Observations, Observations]:
        """All observations of a video, and of its static baseline."""
        found: dict[str, np.ndarray] = {}
        static: dict[str, np.ndarray] = {}
        for observer in self.observers:
            one, still = observer(video)
            found.update(one)
            static.update(still)
        return found, static


@dataclass(frozen=True)
class Opening:
    """Opens networks; those of the same weights once."""

    settings: Settings
    device: torch.device
    weights: dict[str, str] = field(default_factory=dict)
    clips: dict[tuple[str, str], tuple[Clip, str]] = field(default_factory=dict)

    def clip(self, source: str, architecture: str, option: str) -> Clip:
        """The CLIP model of these weights."""
        key = source, architecture
        if key not in self.clips:
            self.clips[key] = load_clip(source, architecture, self.device, self.settings.batch, f"--{option}")
        found, self.weights[option.replace("-", "_")] = self.clips[key]
        return found


def open_observers(settings: Settings, device: torch.device, without_image: str = "") -> Observers:
    """Open every network whose weights are given.

    ``without_image`` says that videos have no condition image, if so: then nothing is compared with it. WeightsError
    or InputError if weights are given and cannot be used.
    """
    opening = Opening(settings, device)
    observers: list[Observer] = [observe_frames, FlowObserver("dis", load_dis(settings.batch), every_frame=True)]
    absent: dict[str, str] = {}
    for option, (observations, opener) in NETWORKS.items():
        if getattr(settings, option):
            observers.append(opener(opening))
            absent |= {name: without_image for name in observations if without_image and name.endswith("_image")}
        else:
            absent |= dict.fromkeys(observations, f"--{option} is not given")
    return Observers(tuple(observers), absent, opening.weights)


def _open_clip(opening: Opening) -> Observer:
    settings = opening.settings
    return ClipObserver(opening.clip(settings.clip, settings.clip_architecture, "clip"))


def _open_dino(opening: Opening) -> Observer:
    dino, opening.weights["dino"] = load_dino(opening.settings.dino, opening.device, opening.settings.batch)
    return DinoObserver(dino)


def _open_raft(opening: Opening) -> Observer:
    lengths, opening.weights["raft"] = load_raft(opening.settings.raft, opening.device, opening.settings.batch)
    return FlowObserver("raft", lengths, every_frame=False)


def _open_aesthetic(opening: Opening) -> Observer:
    settings = opening.settings
    if settings.aesthetic_clip:
        clip = opening.clip(settings.aesthetic_clip, settings.aesthetic_clip_architecture, "aesthetic-clip")
    else:
        clip = opening.clip(settings.clip, settings.clip_architecture, "clip")
    aesthetic, opening.weights["aesthetic"] = load_aesthetic(settings.aesthetic, clip)
    return RatingObserver(aesthetic, clip)


NETWORKS: dict[str, tuple[tuple[str, ...], Callable[[Opening], Observer]]] = {
    "clip": (("clip", "clip_aliased", "clip_text", "clip_image"), _open_clip),
    "dino": (("dino_cropped", "dino_whole", "dino_image"), _open_dino),
    "raft": (("raft_8fps",), _open_raft),
    "aesthetic": (("ratings",), _open_aesthetic),
}
"""Option with the weights -> what is observed with them, and what opens it."""
