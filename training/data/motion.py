"""How much a clip moves, in ten levels, as in LivePhoto (arXiv 2312.02928).

The measure is the mean SSIM of neighbouring frames, 1 for a still clip, which datasets hold with the heatmaps of a
flow. Level 1 has the stillest tenth of the clips of training, level 10 the tenth that moves most. (The paper does not
say how it cuts levels.)
"""

from collections.abc import Collection, Sequence

import numpy as np

from base.errors import InputError
from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.view import scalars
from diffusion.options import MOTION_LEVELS

SSIM = "mean_ssim"
"""The column of the mean SSIM."""


def find_ssim(uri: str, catalog: Catalog, heatmaps: str) -> str:
    """The artifact to take the SSIM from: the heatmaps, or another one that has it, since it is of the same frames.

    InputError if there is none.
    """
    for name in (heatmaps, *catalog.artifacts):
        if SSIM in catalog.artifacts[name].columns:
            return name
    raise InputError(
        f"{uri}: nothing in it holds {SSIM}, of which motion levels are made. Add the heatmaps of a flow (`motif "
        "preprocess` with a recipe such as motif), or use a model without motion levels."
    )


def read_ssim(dataset: Folder, artifact: str, clips: Collection[str]) -> np.ndarray:
    """The mean SSIM of these clips, in no order that matters."""
    table = scalars(dataset, (artifact,), (SSIM,))
    found = zip(table.column("clip_id").to_pylist(), table.column(SSIM).to_pylist(), strict=True)
    return np.array([ssim for clip, ssim in found if clip in clips])


def find_bounds(values: Sequence[np.ndarray], weights: Sequence[float]) -> tuple[float, ...]:
    """The lowest SSIM of each level but the last, highest first, by the deciles of datasets with weights.

    Each clip counts as often as it is seen. Clips that are equally still have the same level.
    """
    each = [weight / len(ssim) for ssim, weight in zip(values, weights, strict=True)]
    # Relative to the smallest, so that clips of one dataset are counted in whole numbers, which add up exactly.
    seen = np.concatenate([np.full(len(ssim), one / min(each)) for ssim, one in zip(values, each, strict=True)])
    shares = np.arange(1, MOTION_LEVELS) / MOTION_LEVELS
    found = np.quantile(-np.concatenate(values), shares, weights=seen, method="inverted_cdf")
    return tuple(float(-value) for value in found)


def level_of(ssim: float, bounds: Sequence[float]) -> int:
    """The level of a clip, from 1, the stillest, to 10."""
    return 1 + sum(ssim < bound for bound in bounds)
