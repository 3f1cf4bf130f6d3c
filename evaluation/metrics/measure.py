"""Measures a folder of videos: opens videos and networks, observes one video after the other, and sums up."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch

from base.device import find_device
from base.errors import InputError, WeightsError
from evaluation.metrics.fvd import VideoDistance, open_fvd
from evaluation.metrics.observe import Decoded, Observations
from evaluation.metrics.observers import Observers, open_observers
from evaluation.metrics.registry import ELSEWHERE, METRICS, Metric
from evaluation.metrics.result import Result, Value, summarize
from evaluation.metrics.settings import Settings, check
from evaluation.metrics.videos import Video, check_alike, check_names, list_videos, open_videos
from evaluation.study.prompts import Prompt, read_prompts
from media.picture import read_image

Report = Callable[[str], None]


def measure(folder: Path, settings: Settings, report: Report) -> Result:
    """The metrics of all mp4 files of a folder; ``report`` gets lines about the progress.

    InputError if videos, prompts or images are missing or unusable, or weights that are given cannot be used. The same
    files give the same result.
    """
    check(settings)
    assert settings.prompts is not None
    paths = list_videos(folder, "VIDEOS")
    prompts = read_prompts(settings.prompts, paths)
    check_names(paths, prompts, folder)
    videos = open_videos(paths)
    first = next(iter(videos.values()))
    check_alike(videos.values(), first)
    images, without_image = _read_which_images(settings, [prompts[name] for name in videos])
    try:
        device = find_device(settings.device)
        observers = open_observers(settings, device, without_image)
        fvd = open_fvd(settings, list(videos.values()), device)
        run = Measurement(observers, fvd, images)
        for number, (name, video) in enumerate(videos.items(), 1):
            run.add(name, video, prompts[name])
            if number == len(videos) or number * 10 // len(videos) > (number - 1) * 10 // len(videos):
                report(f"{number:,} of {len(videos):,} videos measured")
    except torch.OutOfMemoryError as error:
        raise InputError(f"--batch {settings.batch}: the device has too little memory. Reduce it.") from error
    return run.result(first, [prompts[name].scene for name in videos])


class Measurement:
    """What is measured, and the values so far."""

    def __init__(self, observers: Observers, fvd: VideoDistance | str, images: bool) -> None:
        self.observers, self.fvd, self.images = observers, fvd, images
        absent = observers.absent
        self.metrics = [metric for metric in METRICS if not {*metric.needs} & absent.keys()]
        self.not_computed = {
            metric.name: next(absent[need] for need in metric.needs if need in absent)
            for metric in METRICS
            if metric not in self.metrics
        }
        self.values: dict[str, Mapping[str, Value]] = {}

    def add(self, name: str, video: Video, prompt: Prompt) -> None:
        """Measure a video. InputError if it cannot be decoded; WeightsError if a value is not finite."""
        size = video.facts.height, video.facts.width
        image = read_image(prompt.image, size) if self.images and prompt.image else None
        decoded = Decoded(video.frames(), video.facts.fps, prompt.text, image)
        observed = self.observers.observe(decoded)
        self.values[name] = {metric.name: _value(metric, observed, video) for metric in self.metrics}
        if isinstance(self.fvd, VideoDistance):
            self.fvd.add(decoded.frames)

    def result(self, first: Video, scenes: list[str]) -> Result:
        """The means of all values; ``scenes`` are of the videos in their order."""
        found, not_computed, weights = None, self.not_computed | ELSEWHERE, dict(self.observers.weights)
        if isinstance(self.fvd, VideoDistance):
            found, weights["i3d"] = self.fvd.distance(), self.fvd.tensors
        else:
            not_computed["fvd"] = self.fvd
        facts = first.facts
        return Result(
            count=len(self.values),
            scenes=len({*scenes}),
            frames=facts.frames,
            height=facts.height,
            width=facts.width,
            fps=facts.fps,
            metrics=summarize(self.metrics, self.values, scenes),
            fvd=found,
            not_computed=not_computed,
            weights=weights,
            per_video=self.values,
        )


def _read_which_images(settings: Settings, prompts: Iterable[Prompt]) -> tuple[bool, str]:
    """Whether videos are compared with their condition images, and else why not.

    All images are read once, so that a damaged one is found before anything is computed.
    """
    images = [prompt.image for prompt in prompts]
    if lacking := images.count(None):
        return False, f"{lacking:,} of {len(images):,} videos have no image in --prompts"
    if not (settings.clip or settings.dino):
        return False, ""
    for image in dict.fromkeys(images):
        assert image is not None
        read_image(image)
    return True, ""


def _value(metric: Metric, observed: tuple[Observations, Observations], video: Video) -> Value:
    of_video, of_static = (metric.formula(*(some[need] for need in metric.needs)) for some in observed)
    if not (math.isfinite(of_video) and math.isfinite(of_static)):
        raise WeightsError(f"{metric.name} of {video.path} is not a finite number: are the weights damaged?")
    return Value(of_video, of_static)
