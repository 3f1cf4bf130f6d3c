"""Motion in pixels per frame from optical flow, and its means over the cells of the latent grid."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


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
