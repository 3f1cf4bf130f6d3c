"""Computes heatmaps from masks, as :class:`pipeline.featurizers.mask_heatmaps.MaskHeatmaps` describes them."""

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from dataset.heatmap.intensity import agreed_intensity, intensity, pool
from pipeline.featurizers.base import ClipBatch, ClipFunction
from pipeline.featurizers.mask_heatmaps import MaskHeatmaps
from pipeline.motion.flow import FlowFunction
from pipeline.motion.prompts import Points
from pipeline.video.geometry import ClipShape


def mask_values(settings: MaskHeatmaps, shape: ClipShape, device: torch.device) -> ClipFunction:
    """Flow of all first steps together; then the masks of the clips that have prompts."""
    flow, masks = settings.flow.load(device), settings.masks.load(device)
    grid = (shape.frames, shape.height, shape.width)

    @torch.inference_mode()
    def compute(batch: ClipBatch) -> dict[str, np.ndarray]:
        frames = batch.tensor(device)
        points = _find_prompts(settings, flow, frames[:, :2])
        moving = [number for number, found in enumerate(points) if len(found)]
        covered = torch.zeros(len(frames), *grid, dtype=torch.bool, device=device)
        if moving:
            covered[moving] = masks(frames[moving, : shape.frames], [points[number] for number in moving])
        return _stored_values(settings, covered, points)

    return compute


def _find_prompts(settings: MaskHeatmaps, flow: FlowFunction, pairs: UInt8[Tensor, "n 2 h w 3"]) -> list[Points]:
    """The prompts of each clip."""
    forth = flow(pairs)
    lengths = agreed_intensity(forth, flow(pairs.flip(1))) if settings.both_ways else intensity(forth)
    return [settings.prompts.find(length) for length in lengths[:, 0].float().cpu().numpy()]


def _stored_values(
    settings: MaskHeatmaps, covered: Bool[Tensor, "n t h w"], points: list[Points]
) -> dict[str, np.ndarray]:
    grids: list[Float[Tensor, "t gh gw"]] = [pool(one[None].float(), settings.cell)[0] for one in covered]
    padded = np.full((len(points), settings.prompts.most, 2), -1, np.int16)
    for row, found in zip(padded, points, strict=True):
        row[: len(found)] = found
    return {
        "heatmap": torch.stack([(grid * 255).round().to(torch.uint8) for grid in grids]).cpu().numpy(),
        "moving_share": np.array([grid.mean().item() for grid in grids], np.float32),
        "prompts": np.array([len(found) for found in points], np.int32),
        "points": padded,
    }
