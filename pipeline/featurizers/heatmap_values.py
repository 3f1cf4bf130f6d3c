"""Computes motion heatmaps, intensity and scores, as :class:`pipeline.featurizers.heatmaps.Heatmaps` describes them."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dataset.heatmap.heatmap import sigmoid_heatmap
from dataset.heatmap.intensity import agreed_intensity, hold_last, intensity, pool, pool_max
from pipeline.featurizers.base import ClipBatch, ClipFunction
from pipeline.featurizers.heatmaps import WITH_CAMERA, Heatmaps
from pipeline.motion.camera import Camera, find_camera
from pipeline.motion.flow import FlowFunction
from pipeline.motion.similarity import adjacent_ssim, luma
from pipeline.video.geometry import ClipShape


def heatmap_values(settings: Heatmaps, shape: ClipShape, device: torch.device) -> ClipFunction:
    """Flow for the whole batch, the rest clip by clip, so that results do not depend on the batch."""
    flow = settings.flow.load(device)

    @torch.inference_mode()
    def compute(batch: ClipBatch) -> dict[str, np.ndarray]:
        frames = batch.tensor(device)
        ways = [flow(frames)]
        if settings.both_ways:
            ways.append(_backward(flow, frames))
        rows = [
            _one(settings, shape, frames[i], [way[i : i + 1] for way in ways], bool(batch.has_next[i]))
            for i in range(len(frames))
        ]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    return compute


def _one(
    settings: Heatmaps, shape: ClipShape, frames: UInt8[Tensor, "t h w 3"], ways: list[Tensor], has_next: bool
) -> dict[str, np.ndarray]:
    with_camera = _intensity(settings, ways, None)
    found = {}
    if settings.camera == "none":
        steps = with_camera
    else:
        camera = find_camera(ways[0][0])
        steps = _intensity(settings, ways, camera)
        used = shape.frames if has_next else shape.frames - 1
        found["camera_motion"] = np.array(np.linalg.norm(camera.flow()[:used], axis=1).mean(), np.float32)
        found["pairs_without_camera"] = np.array(camera.found[:used].count(False), np.int32)
        values = _stored_values(settings, shape, with_camera, has_next)
        found[WITH_CAMERA] = values["intensity"]
        found[f"{WITH_CAMERA}_max"] = values["intensity_max"]
        found["moving_share_with_camera"] = values["moving_share"]
    similarity = adjacent_ssim(luma(frames[: shape.frames])).mean().item()
    return _stored_values(settings, shape, steps, has_next) | {"mean_ssim": np.array(similarity, np.float32)} | found


def _intensity(settings: Heatmaps, ways: list[Tensor], camera: Camera | None) -> Float[Tensor, "1 s h w"]:
    """Flow length in the steps of a clip, minus the camera's part if given."""
    if camera is None:
        return agreed_intensity(ways[0], ways[1]) if settings.both_ways else intensity(ways[0])
    forth = torch.from_numpy(camera.flow())[None].to(ways[0].device)
    if not settings.both_ways:
        return intensity(ways[0] - forth)
    back = torch.from_numpy(camera.back())[None].to(forth.device)
    return agreed_intensity(ways[0], ways[1], (forth, back))


def _stored_values(
    settings: Heatmaps, shape: ClipShape, steps: Float[Tensor, "1 s h w"], has_next: bool
) -> dict[str, np.ndarray]:
    """The stored columns of a clip's intensity."""
    steps = hold_last(steps, shape.frames, torch.tensor([has_next]))
    heat = sigmoid_heatmap(settings.normalisation, steps, shape.height, shape.width)
    grid = pool(heat, settings.cell)[0]
    stored = (grid * 255).round().to(torch.uint8) if settings.dtype == "uint8" else grid.half()
    return {
        "heatmap": stored.cpu().numpy(),
        "intensity": pool(steps, settings.cell)[0].half().cpu().numpy(),
        "intensity_max": pool_max(steps, settings.cell)[0].half().cpu().numpy(),
        "mean_intensity": np.array(steps.mean().item(), np.float32),
        "moving_share": np.array((heat > 0.5).float().mean().item(), np.float32),
    }


def _backward(flow: FlowFunction, frames: UInt8[Tensor, "n t h w 3"]) -> Float[Tensor, "n s 2 h w"]:
    """Flow from each frame to the one before it, in the order of the forward steps."""
    return flow(frames.flip(1)).flip(1)
