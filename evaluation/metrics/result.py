"""The result of a measurement: values of each video, and means with intervals over scenes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from evaluation.metrics.registry import Group, Metric
from evaluation.statistics.bootstrap import cluster_bootstrap, draw_clusters

_SEED = 0


@dataclass(frozen=True)
class Value:
    """A metric of one video, and of its first frame repeated."""

    video: float
    static: float


@dataclass(frozen=True)
class Mean:
    """A mean over the videos, with the 95 % interval of a bootstrap over scenes; no interval for a single scene."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Row:
    """A metric over all videos, beside the static baseline."""

    group: Group
    about: str
    videos: Mean
    static: Mean
    difference: Mean
    """Of each video from its own static baseline."""


@dataclass(frozen=True)
class Fvd:
    """The Fréchet video distance from real videos. It falls with the number of videos: compare only equal numbers."""

    videos: float
    static: float
    """Of the first frames repeated, from the same real videos."""
    reference: int
    """How many real videos."""


@dataclass(frozen=True)
class Result:
    """What was measured of a folder of videos."""

    count: int
    scenes: int
    frames: int
    height: int
    width: int
    fps: float
    metrics: Mapping[str, Row]
    fvd: Fvd | None
    not_computed: Mapping[str, str]
    """Metrics that were not computed -> why."""
    weights: Mapping[str, str]
    """Networks -> hashes of their weights."""
    per_video: Mapping[str, Mapping[str, Value]]
    """Videos -> metrics -> values."""


def summarize(
    metrics: Sequence[Metric], values: Mapping[str, Mapping[str, Value]], scenes: Sequence[str]
) -> dict[str, Row]:
    """The means of metrics over videos; ``scenes`` are of the videos in their order.

    All metrics use the same resamples, so that the same values give the same intervals.
    """
    numbers = np.unique(list(scenes), return_inverse=True)[1]
    drawn = draw_clusters(int(numbers.max()) + 1, np.random.default_rng(_SEED))
    rows = {}
    for metric in metrics:
        found = [row[metric.name] for row in values.values()]
        video, static = (np.array([getattr(value, name) for value in found]) for name in ("video", "static"))
        means = (_mean(some, numbers, drawn) for some in (video, static, video - static))
        rows[metric.name] = Row(metric.group, metric.about, *means)
    return rows


def _mean(values: Float[np.ndarray, " n"], scenes: Int[np.ndarray, " n"], drawn: Float[np.ndarray, "r c"]) -> Mean:
    if drawn.shape[1] == 1:
        return Mean(float(values.mean()), None, None)
    found = cluster_bootstrap(np.bincount(scenes, values), np.bincount(scenes), drawn)
    return Mean(found.value, found.low, found.high)
