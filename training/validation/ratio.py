"""The relative error of moving regions: mean loss inside the motion mask over mean loss overall (MotiF, figure 6).

Every statistic reduces sums kept per clip, so bootstrap resampling of clips costs one matrix product.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from base.errors import InputError

# Separates these random numbers from others with the same seed.
_STREAM = 11
_LEVEL = 0.95


@dataclass(frozen=True)
class ClipErrors:
    """Squared errors of a run on held-out clips, summed over the cells of each clip's latent grid.

    A cell is a position in time, height and width; its error is the mean over channels.
    """

    clip_ids: tuple[str, ...]
    timesteps: tuple[int, ...]
    inside: Float[np.ndarray, "n k"]
    """Sums over the cells in the clip's motion mask."""
    overall: Float[np.ndarray, "n k"]
    cells_inside: Int[np.ndarray, " n"]
    cells: Int[np.ndarray, " n"]

    @property
    def moving(self) -> Bool[np.ndarray, " n"]:
        """Clips with a non-empty mask; the others are left out of all statistics."""
        return self.cells_inside > 0


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Losses:
    """At one timestep: mean squared error overall and in the mask, their ratio, its difference to the first run's."""

    timestep: int
    loss: float
    loss_in_mask: float
    ratio: Estimate
    difference: Estimate


@dataclass(frozen=True)
class RunRatio:
    """A run by timestep, and its ratio averaged over them."""

    name: str
    by_timestep: tuple[Losses, ...]
    ratio: Estimate
    difference: Estimate


def compare_ratios(runs: Sequence[tuple[str, ClipErrors]], resamples: int, seed: int) -> tuple[RunRatio, ...]:
    """The ratio of each run, and its difference to the first run's, with intervals of a paired bootstrap over clips.

    All runs must have been measured on the same clips with the same noise; each resample uses the same clips for
    all, so that a clip's difficulty cancels in the difference. InputError if no clip has a mask.
    """
    first = runs[0][1]
    assert all((e.clip_ids, e.timesteps) == (first.clip_ids, first.timesteps) for _, e in runs), "runs are paired"
    moving = int(first.moving.sum())
    if not moving:
        raise InputError(
            f"none of the {len(first.clip_ids)} clips has a heatmap cell above the threshold, so nothing moves. "
            "Lower --threshold, or hold out other clips."
        )
    weights = np.concatenate([np.ones((1, moving)), _resampled(moving, resamples, seed)])
    ratios = [_with_mean(_ratio(errors, weights)) for _, errors in runs]
    return tuple(
        _run(name, errors, ratio, ratio - ratios[0]) for (name, errors), ratio in zip(runs, ratios, strict=True)
    )


def _resampled(clips: int, resamples: int, seed: int) -> Float[np.ndarray, "r n"]:
    """The count of each clip in each resample."""
    drawn = np.random.default_rng([seed, _STREAM]).multinomial(clips, np.full(clips, 1 / clips), size=resamples)
    return np.asarray(drawn, np.float64)


def _ratio(errors: ClipErrors, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, "r k"]:
    inside, overall = _means(errors, weights)
    ratio: np.ndarray = inside / overall
    return ratio


def _means(
    errors: ClipErrors, weights: Float[np.ndarray, "r n"]
) -> tuple[Float[np.ndarray, "r k"], Float[np.ndarray, "r k"]]:
    """Mean error in the mask and overall, over all cells of the weighted clips."""
    kept = errors.moving
    inside = (weights @ errors.inside[kept]) / (weights @ errors.cells_inside[kept])[:, None]
    overall = (weights @ errors.overall[kept]) / (weights @ errors.cells[kept])[:, None]
    return inside, overall


def _with_mean(values: Float[np.ndarray, "r k"]) -> Float[np.ndarray, "r k1"]:
    """With another column: the mean over timesteps."""
    return np.concatenate([values, values.mean(axis=1, keepdims=True)], axis=1)


def _run(
    name: str, errors: ClipErrors, ratio: Float[np.ndarray, "r k1"], difference: Float[np.ndarray, "r k1"]
) -> RunRatio:
    inside, overall = (means[0] for means in _means(errors, np.ones((1, int(errors.moving.sum())))))
    ratios, differences = _estimates(ratio), _estimates(difference)
    rows = zip(errors.timesteps, overall, inside, ratios, differences, strict=False)
    by_timestep = tuple(Losses(t, float(all_), float(in_), r, d) for t, all_, in_, r, d in rows)
    return RunRatio(name, by_timestep, ratios[-1], differences[-1])


def _estimates(values: Float[np.ndarray, "r k1"]) -> list[Estimate]:
    """Estimates from the measured first row and resamples in the other rows."""
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(values[1:], (tail, 1 - tail), axis=0)
    return [Estimate(float(v), float(a), float(b)) for v, a, b in zip(values[0], low, high, strict=True)]
