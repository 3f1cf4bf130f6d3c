"""Rates over the scored videos of a model, with intervals over scenes: videos of one image are not independent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.sprites.score import VideoScore
from evaluation.statistics.bootstrap import cluster_bootstrap, draw_clusters
from evaluation.statistics.estimate import Estimate
from evaluation.statistics.proportion import wilson


@dataclass(frozen=True)
class Scored:
    """A video's score for its own prompt, and whether it would be right for each other prompt of its image.

    Only prompts with which a video cannot be right at the same time count.
    """

    score: VideoScore
    swapped: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Summary:
    """Rates and means over videos; each is 0 to 1, but for ``error``, in short sides, and ``sensitivity``, -1 to 1."""

    videos: int
    scenes: int
    right: Estimate
    """The right object in the right direction."""
    object_right: Estimate
    direction_right: Estimate
    """Chance is 0.125."""
    error: Estimate
    leak: Estimate
    background: Estimate
    kept: Estimate
    static: Estimate
    sensitivity: Estimate | None
    """Prompt-swap sensitivity: how often videos are right for their own prompt, minus how often they are for another
    prompt of the same image. 0: the prompt makes no difference. None if no image has two prompts."""
    by_kind: dict[str, Estimate]
    """``right`` by kind of motion."""


def summarise(videos: Sequence[Scored], seed: int = 0) -> Summary:
    """The summary of at least one video."""

    def mean(value: Callable[[Scored], float], some: Sequence[Scored] = videos) -> Estimate:
        return mean_by_scene([value(one) for one in some], [one.score.scene for one in some], seed)

    kinds = {one.score.kind for one in videos}
    swappable = [one for one in videos if one.swapped]
    return Summary(
        videos=len(videos),
        scenes=len({one.score.scene for one in videos}),
        right=mean(lambda one: one.score.right),
        object_right=mean(lambda one: one.score.object_right),
        direction_right=mean(lambda one: one.score.direction_right),
        error=mean(lambda one: one.score.error),
        leak=mean(lambda one: one.score.leak),
        background=mean(lambda one: one.score.background),
        kept=mean(lambda one: one.score.kept),
        static=mean(lambda one: one.score.static),
        sensitivity=mean(_sensitivity, swappable) if swappable else None,
        by_kind={
            kind: mean(lambda one: one.score.right, [one for one in videos if one.score.kind == kind])
            for kind in sorted(kinds)
        },
    )


def _sensitivity(one: Scored) -> float:
    return one.score.right - float(np.mean(one.swapped))


def mean_by_scene(values: Sequence[float], scenes: Sequence[int], seed: int = 0) -> Estimate:
    """The mean of values, with a 95 % interval of a bootstrap over scenes.

    Where all values are 0 or all are 1, which resampling cannot vary: Wilson's interval for as many answers as scenes.
    """
    numbers = {scene: number for number, scene in enumerate(dict.fromkeys(scenes))}
    cluster = np.array([numbers[scene] for scene in scenes])
    sums = np.bincount(cluster, np.asarray(values, float), len(numbers))
    counts = np.bincount(cluster, minlength=len(numbers)).astype(float)
    if set(values) <= {0, 1} and len(set(values)) == 1:
        whole = wilson(len(numbers) if values[0] else 0, len(numbers))
        return Estimate(float(values[0]), whole.low, whole.high)
    return cluster_bootstrap(sums, counts, draw_clusters(len(numbers), np.random.default_rng(seed)))
