"""From flow to the heatmap that weights the loss (MotiF section 3.2).

intensity = |flow| in pixels; x = intensity in a resolution-independent unit; m = sigmoid(slope (x - centre)) with the
paper's 1 / (1 + exp(100 (0.05 - x))); m is then averaged over each latent cell. The paper does not state the unit of
x; the default is ours (see :class:`Normalisation`), and ``motif calibrate`` shows what each choice does to a dataset.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from base.errors import InputError

_UNIT_FPS = 8  # a frame of the unit of time: at such rates the defaults in pixels per frame are meant

Unit = Literal["diagonal", "short_side", "width", "pixels", "clip_max"]


@dataclass(frozen=True)
class Normalisation:
    """x = min(1, intensity / (fraction * unit)).

    The default, 0.15 of the frame's diagonal, is VideoJAM's: the sigmoid's centre is then at 4.5 pixels per frame for
    320 x 512, scales with resolution, and static clips stay dark. ``clip_max`` divides by the clip's greatest
    intensity, but by at least ``floor`` pixels (else a static clip would light up).
    """

    unit: Unit = "diagonal"
    fraction: float = 0.15
    floor: float = 1.0
    centre: float = 0.05
    slope: float = 100.0

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("fraction", "floor", "slope"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} {getattr(self, name)}: must be above 0")
        if not 0 <= self.centre <= 1:
            raise ValueError(f"centre {self.centre}: must be from 0 to 1, the range of x")

    def scale(self, height: int, width: int) -> float:
        """Pixels per unit of x for frames of this size; for ``clip_max`` the fraction of the maximum."""
        units = {
            "diagonal": math.hypot(height, width),
            "short_side": float(min(height, width)),
            "width": float(width),
            "pixels": 1.0,
            "clip_max": 1.0,
        }
        return self.fraction * units[self.unit]

    def heatmap(self, intensity: Float[Tensor, "n t h w"], height: int, width: int) -> Float[Tensor, "n t h w"]:
        """The heatmap (0 to 1) of an intensity in pixels for frames ``height`` x ``width``, on the same grid."""
        scale: Tensor | float = self.scale(height, width)
        if self.unit == "clip_max":
            scale = scale * intensity.amax(dim=(1, 2, 3), keepdim=True).clamp(min=self.floor)
        return self._sigmoid(intensity / scale)

    def from_cells(
        self, mean: Float[Tensor, "n t gh gw"], greatest: Float[Tensor, "n t gh gw"], height: int, width: int
    ) -> Float[Tensor, "n t gh gw"]:
        """The approximate heatmap from each cell's mean and greatest intensity, in pixels per frame.

        The exact value is the mean of the pixels' sigmoids. Here moving pixels are assumed to be uniformly spread up to
        the greatest intensity so that the mean matches, and the others to be still. ``clip_max`` is exact.
        """
        scale: Tensor | float = self.scale(height, width)
        if self.unit == "clip_max":
            scale = scale * greatest.amax(dim=(1, 2, 3), keepdim=True).clamp(min=self.floor)
        mean = torch.minimum(mean, greatest)
        moving = (2 * mean / greatest.clamp(min=1e-6)).clamp(max=1)
        spread = self._mean_between((2 * mean - greatest).clamp(min=0) / scale, greatest / scale)
        return moving * spread + (1 - moving) * self._sigmoid(torch.zeros_like(greatest))

    def _mean_between(self, low: Float[Tensor, "n t h w"], high: Float[Tensor, "n t h w"]) -> Float[Tensor, "n t h w"]:
        """Mean of the sigmoid of x between two bounds: the difference of its integral, softplus, over theirs."""

        def integral(x: Tensor) -> Tensor:
            below = F.softplus(self.slope * (x.clamp(max=1) - self.centre)) / self.slope
            return below + (x - 1).clamp(min=0) * math.exp(-math.log1p(math.exp(-self.slope * (1 - self.centre))))

        apart = high - low
        narrow = apart < 1e-3 * high.clamp(min=1)  # the difference would be dominated by rounding
        wide = (integral(high) - integral(low)) / apart.clamp(min=1e-6)
        return torch.where(narrow, self._sigmoid((low + high) / 2), wide)

    def _sigmoid(self, x: Float[Tensor, "n t h w"]) -> Float[Tensor, "n t h w"]:
        return torch.sigmoid(self.slope * (x.clamp(max=1) - self.centre))

    def identity(self) -> dict[str, Any]:
        """Everything that changes the heatmap; ``floor`` only if used."""
        fields = {"unit": self.unit, "fraction": self.fraction, "centre": self.centre, "slope": self.slope}
        return fields | ({"floor": self.floor} if self.unit == "clip_max" else {})


# Possible readings of the paper, compared by `motif calibrate`; the default first.
CONVENTIONS: dict[str, Normalisation] = {
    "0.15 diagonal": Normalisation(),
    "clip_max": Normalisation("clip_max", 1.0),
    "width": Normalisation("width", 1.0),
    "short_side": Normalisation("short_side", 1.0),
    "diagonal": Normalisation("diagonal", 1.0),
    "pixels": Normalisation("pixels", 1.0),
}


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
        return normalisation.heatmap(cells, height, width)
    return normalisation.from_cells(cells, torch.from_numpy(np.array(greatest, np.float32)), height, width)


def latent_heatmap(
    normalisation: Normalisation,
    mean: Float[np.ndarray, "n t h w"],
    greatest: Float[np.ndarray, "n t h w"] | None,
    pixels: tuple[int, int],
    stride: int,
    fps: Float[np.ndarray, " n"],
) -> Float[Tensor, "n k h w"]:
    """The heatmap of latents that compress time, from the stored cells of each frame.

    Latent 0 is frame 0, which a model is given, and stays 0. Latent k holds the ``stride`` frames up to frame stride k.
    Their intensities are added before the sigmoid, since at a high ``fps`` that of each frame is dark, and divided by
    their time: pixels per eighth of a second, so that neither rate nor stride changes the map of an even motion.
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


def intensity(flow: Float[Tensor, "n t 2 h w"]) -> Float[Tensor, "n t h w"]:
    """Length of the flow vector, in its unit."""
    return torch.sqrt(flow[:, :, 0] ** 2 + flow[:, :, 1] ** 2)


def agreed_intensity(
    flow: Float[Tensor, "n t 2 h w"],
    back: Float[Tensor, "n t 2 h w"],
    camera: tuple[Float[Tensor, "n t 2 h w"], Float[Tensor, "n t 2 h w"]] | None = None,
) -> Float[Tensor, "n t h w"]:
    """Intensity on which both directions agree: min(|f(p)|, |b(p + f(p))|), b the flow back from the next frame.

    ``camera`` is the camera's part of both, which is subtracted from their lengths, but not from the displacement p +
    f(p). Background ahead of a moving object is hidden in the next frame, and forward flow bleeds the object's motion
    into it; the backward flow at its target is still, so the minimum removes this.
    """
    n, t, _, h, w = flow.shape
    rows = torch.arange(h, device=flow.device).view(h, 1)
    columns = torch.arange(w, device=flow.device)
    x = (columns + flow[:, :, 0]).round().clamp(0, w - 1)
    y = (rows + flow[:, :, 1]).round().clamp(0, h - 1)
    forth, other = (flow, back) if camera is None else (flow - camera[0], back - camera[1])
    seen = intensity(other).view(n, t, h * w).gather(2, (y * w + x).long().view(n, t, h * w))
    return torch.minimum(intensity(forth), seen.view(n, t, h, w))


def pool(values: Float[Tensor, "n t h w"], cell: int) -> Float[Tensor, "n t gh gw"]:
    """Area mean over cells of ``cell`` x ``cell`` pixels: the latent grid."""
    return F.avg_pool2d(values, cell)


def pool_max(values: Float[Tensor, "n t h w"], cell: int) -> Float[Tensor, "n t gh gw"]:
    """The greatest value of each cell of ``cell`` x ``cell`` pixels."""
    return F.max_pool2d(values, cell)


def hold_last(steps: Float[Tensor, "n s h w"], frames: int, has_next: Tensor) -> Float[Tensor, "n t h w"]:
    """One map per frame from one map per step between frames.

    Frame l gets the step l -> l + 1. ``steps`` has ``frames`` of them; the last one is only valid if ``has_next``
    (bool ``[n]``), otherwise or if missing, the previous map is repeated.
    """
    maps = steps[:, :frames].clone()
    if maps.shape[1] < frames:
        maps = torch.cat([maps, maps[:, -1:]], dim=1)
    alone = ~has_next.to(maps.device)
    maps[alone, -1] = maps[alone, -2]
    return maps
