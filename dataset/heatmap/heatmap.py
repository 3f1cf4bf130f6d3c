"""From motion to the heatmap that weights the loss (MotiF section 3.2).

intensity = |flow| in pixels; x = intensity in a resolution-independent unit; m = sigmoid(slope (x - centre)) with the
paper's 1 / (1 + exp(100 (0.05 - x))); m is then averaged over each latent cell. The paper does not state the unit of
x; the default is ours (see :class:`Normalisation`), and ``motif calibrate`` shows what each choice does to a dataset.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from base.errors import InputError
from dataset.heatmap.normalisation import Normalisation

_UNIT_FPS = 8  # a frame of the unit of time: at such rates the defaults in pixels per frame are meant


def sigmoid_heatmap(
    normalisation: Normalisation, intensity: Float[Tensor, "n t h w"], height: int, width: int
) -> Float[Tensor, "n t h w"]:
    """The heatmap (0 to 1) of an intensity in pixels for frames ``height`` x ``width``, on the same grid."""
    scale: Tensor | float = normalisation.scale(height, width)
    if normalisation.unit == "clip_max":
        scale = scale * intensity.amax(dim=(1, 2, 3), keepdim=True).clamp(min=normalisation.floor)
    return _sigmoid(normalisation, intensity / scale)


def cell_heatmap(
    normalisation: Normalisation,
    mean: Float[Tensor, "n t gh gw"],
    greatest: Float[Tensor, "n t gh gw"],
    height: int,
    width: int,
) -> Float[Tensor, "n t gh gw"]:
    """The approximate heatmap from each cell's mean and greatest intensity, in pixels per frame.

    The exact value is the mean of the pixels' sigmoids. Here moving pixels are assumed to be uniformly spread up to
    the greatest intensity so that the mean matches, and the others to be still. ``clip_max`` is exact.
    """
    scale: Tensor | float = normalisation.scale(height, width)
    if normalisation.unit == "clip_max":
        scale = scale * greatest.amax(dim=(1, 2, 3), keepdim=True).clamp(min=normalisation.floor)
    mean = torch.minimum(mean, greatest)
    moving = (2 * mean / greatest.clamp(min=1e-6)).clamp(max=1)
    spread = _mean_between(normalisation, (2 * mean - greatest).clamp(min=0) / scale, greatest / scale)
    return moving * spread + (1 - moving) * _sigmoid(normalisation, torch.zeros_like(greatest))


def _mean_between(
    normalisation: Normalisation, low: Float[Tensor, "n t h w"], high: Float[Tensor, "n t h w"]
) -> Float[Tensor, "n t h w"]:
    """Mean of the sigmoid of x between two bounds: the difference of its integral, softplus, over theirs."""
    slope, centre = normalisation.slope, normalisation.centre

    def integral(x: Tensor) -> Tensor:
        below = F.softplus(slope * (x.clamp(max=1) - centre)) / slope
        return below + (x - 1).clamp(min=0) * math.exp(-math.log1p(math.exp(-slope * (1 - centre))))

    apart = high - low
    narrow = apart < 1e-3 * high.clamp(min=1)  # the difference would be dominated by rounding
    wide = (integral(high) - integral(low)) / apart.clamp(min=1e-6)
    return torch.where(narrow, _sigmoid(normalisation, (low + high) / 2), wide)


def _sigmoid(normalisation: Normalisation, x: Float[Tensor, "n t h w"]) -> Float[Tensor, "n t h w"]:
    return torch.sigmoid(normalisation.slope * (x.clamp(max=1) - normalisation.centre))


def stored_heatmap(
    normalisation: Normalisation,
    mean: Float[np.ndarray, "n t h w"],
    greatest: Float[np.ndarray, "n t h w"] | None,
    height: int,
    width: int,
) -> Float[Tensor, "n t h w"]:
    """The heatmap under another normalisation from a dataset's stored cells, without computing flow.

    Version 1 artifacts lack ``greatest``: the sigmoid of a cell's mean is used then.
    """
    cells = torch.from_numpy(np.array(mean, np.float32))
    if greatest is None:
        return sigmoid_heatmap(normalisation, cells, height, width)
    return cell_heatmap(normalisation, cells, torch.from_numpy(np.array(greatest, np.float32)), height, width)


def latent_heatmap(
    normalisation: Normalisation,
    mean: Float[np.ndarray, "n t h w"],
    greatest: Float[np.ndarray, "n t h w"] | None,
    pixels: tuple[int, int],
    stride: int,
    fps: Float[np.ndarray, " n"],
) -> Float[Tensor, "n k h w"]:
    """The heatmap of latents that compress time, from the stored cells of each frame.

    Latent 0 is frame 0, to which no motion leads: 0. Latent k holds the ``stride`` frames up to frame stride k. Their
    intensities are added before the sigmoid, since at a high ``fps`` that of each frame is dark, and divided by their
    time: pixels per eighth of a second, so that neither rate nor stride changes the map of an even motion.
    ``pixels`` are the frames' height and width. InputError if frames are not a multiple of the stride plus 1.
    """
    frames = mean.shape[1]
    if frames < 1 or (frames - 1) % stride:
        raise InputError(f"heatmaps of {frames} frames: latents of {stride} frames each need a multiple of it plus 1.")
    rates = np.asarray(fps, np.float32)[:, None, None, None] / (stride * _UNIT_FPS)

    def moved(cells: np.ndarray) -> np.ndarray:
        n, _, height, width = cells.shape
        steps = np.asarray(cells[:, 1:], np.float32).reshape(n, -1, stride, height, width)
        return np.asarray(steps.sum(axis=2) * rates)

    maps = stored_heatmap(normalisation, moved(mean), None if greatest is None else moved(greatest), *pixels)
    return torch.cat([torch.zeros_like(maps[:, :1]) if frames > 1 else torch.zeros(mean.shape), maps], dim=1)
