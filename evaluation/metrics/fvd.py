"""The Fréchet video distance (Unterthiner et al. 2018): of I3D's features of the measured videos from real ones."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8

from base.errors import InputError, WeightsError
from evaluation.metrics.formulas.frechet import frechet_distance
from evaluation.metrics.networks.i3d import I3d, load_i3d
from evaluation.metrics.observe import repeat_first
from evaluation.metrics.result import Fvd
from evaluation.metrics.settings import Settings
from evaluation.metrics.videos import Video, check_reference, list_videos, open_videos


class VideoDistance:
    """Collects the features of videos and of their static baselines."""

    def __init__(self, i3d: I3d, tensors: str, real: Float[np.ndarray, "m d"]) -> None:
        self.i3d, self.tensors, self.real = i3d, tensors, real
        self.videos: list[Float[np.ndarray, " d"]] = []
        self.static: list[Float[np.ndarray, " d"]] = []

    def add(self, frames: UInt8[np.ndarray, "t h w 3"]) -> None:
        """Count a video."""
        self.videos.append(self.i3d(frames))
        self.static.append(self.i3d(repeat_first(frames)))

    def distance(self) -> Fvd:
        """The distances of all counted videos; WeightsError if they are not finite."""
        videos, static = (frechet_distance(np.stack(rows), self.real) for rows in (self.videos, self.static))
        if not (math.isfinite(videos) and math.isfinite(static)):
            raise WeightsError(f"--i3d {self.i3d.path}: FVD is not a finite number: is the file damaged?")
        return Fvd(videos, static, len(self.real))


def open_fvd(settings: Settings, videos: Sequence[Video], device: torch.device) -> VideoDistance | str:
    """FVD with the features of the real videos, or why it is not computed.

    InputError if the real videos cannot be compared with these, or a file is missing.
    """
    if settings.i3d is None:
        return "--i3d is not given"
    if settings.reference is None:
        return "--reference is not given"
    if len(videos) < 2:
        return "it needs at least two videos"
    reference = list(open_videos(list_videos(settings.reference, "--reference")).values())
    check_reference(reference, videos[0])
    if len(reference) < 2:
        raise InputError(f"--reference {settings.reference} has one video: FVD needs at least two.")
    i3d, tensors = load_i3d(settings.i3d, settings.i3d_sha256, device)
    return VideoDistance(i3d, tensors, np.stack([i3d(video.frames()) for video in reference]))
