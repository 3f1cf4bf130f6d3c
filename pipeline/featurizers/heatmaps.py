"""Motion heatmaps on the latent grid, the underlying flow intensity, and three motion scores per clip."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dataset.heatmap.heatmap import sigmoid_heatmap
from dataset.heatmap.intensity import agreed_intensity, hold_last, intensity, pool, pool_max
from dataset.heatmap.normalisation import Normalisation
from dataset.parts.schema import Column
from models.estimate import Cost
from pipeline.featurizers.base import ClipBatch, ClipFeature, ClipFunction
from pipeline.motion.camera import Camera, find_camera
from pipeline.motion.flow import Dis, FlowFunction
from pipeline.motion.raft import Raft
from pipeline.motion.similarity import adjacent_ssim, luma
from pipeline.video.geometry import ClipShape

WITH_CAMERA = "intensity_with_camera"
"""The column of the intensity before camera compensation; its maximum has the suffix ``_max``."""


@dataclass(frozen=True)
class Heatmaps(ClipFeature):
    """m' of MotiF: the sigmoid of normalised flow intensity, averaged over ``cell`` x ``cell`` pixels.

    Each cell's mean and maximum intensity in pixels per frame is stored, too, so another normalisation needs no new
    flow. ``both_ways`` only counts motion on which forward and backward flow agree; this keeps motion from bleeding
    into the background ahead of an object, at the cost of a second flow. The paper uses forward flow.
    """

    kind: ClassVar[str] = "heatmaps"

    flow: Dis | Raft = Raft()
    both_ways: bool = False
    camera: Literal["none", "homography"] = "none"
    """Subtract camera motion, which would light up a static background; the paper does not."""
    normalisation: Normalisation = Normalisation()
    cell: int = 8
    dtype: Literal["uint8", "float16"] = "uint8"

    def identity(self) -> dict[str, Any]:
        """Flow, direction, camera, normalisation, grid and number format."""
        return {
            "flow": self.flow.identity(),
            "both_ways": self.both_ways,
            "camera": self.camera,
            "normalisation": self.normalisation.identity(),
            "cell": self.cell,
            "dtype": self.dtype,
            "version": 2,
        }

    def check(self, shape: ClipShape) -> None:
        """The latent grid must divide the frame."""
        if self.cell < 1 or shape.height % self.cell or shape.width % self.cell:
            raise ValueError(f"cell {self.cell}: must divide height {shape.height} and width {shape.width}")

    def columns(self, shape: ClipShape) -> tuple[Column, ...]:
        """Heatmap, intensity and scores; with camera compensation also the uncompensated intensity."""
        grid = (shape.frames, shape.height // self.cell, shape.width // self.cell)
        scale = 1 / 255 if self.dtype == "uint8" else 1.0
        columns = [
            Column("heatmap", self.dtype, grid, "t h w", scale, "motion heatmap, 0 to 1"),
            Column("intensity", "float16", grid, "t h w", 1.0, "mean flow length of the cell, pixels a frame"),
            Column("intensity_max", "float16", grid, "t h w", 1.0, "greatest flow length in the cell"),
            Column("mean_intensity", "float32", about="mean flow length, pixels a frame"),
            Column("moving_share", "float32", about="share of pixels whose heatmap is above 0.5"),
            Column("mean_ssim", "float32", about="mean SSIM of neighbouring frames, 1 is still"),
        ]
        if self.camera != "none":
            columns += [
                Column(WITH_CAMERA, "float16", grid, "t h w", 1.0, "intensity, nothing subtracted"),
                Column(f"{WITH_CAMERA}_max", "float16", grid, "t h w", 1.0, "the same, greatest in the cell"),
                Column("camera_motion", "float32", about="mean motion of the camera, pixels a frame"),
                Column("moving_share_with_camera", "float32", about="moving_share, nothing subtracted"),
                Column("pairs_without_camera", "int32", about="pairs of frames in which no camera's motion was found"),
            ]
        return tuple(columns)

    def cost(self, shape: ClipShape) -> Cost | None:
        """RAFT's; the rest is small. None for DIS flow, which computes on the CPU."""
        if not isinstance(self.flow, Raft):
            return None
        return self.flow.cost(shape.frames + 1, shape.height, shape.width).times(2 if self.both_ways else 1)

    def load(self, shape: ClipShape, device: torch.device) -> ClipFunction:
        """Flow for the whole batch, the rest clip by clip, so that results do not depend on the batch."""
        flow = self.flow.load(device)

        @torch.inference_mode()
        def compute(batch: ClipBatch) -> dict[str, np.ndarray]:
            frames = batch.tensor(device)
            ways = [flow(frames)]
            if self.both_ways:
                ways.append(_backward(flow, frames))
            rows = [
                self._one(shape, frames[i], [way[i : i + 1] for way in ways], bool(batch.has_next[i]))
                for i in range(len(frames))
            ]
            return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

        return compute

    def _one(
        self, shape: ClipShape, frames: UInt8[Tensor, "t h w 3"], ways: list[Tensor], has_next: bool
    ) -> dict[str, np.ndarray]:
        with_camera = self._intensity(ways, None)
        found = {}
        if self.camera == "none":
            steps = with_camera
        else:
            camera = find_camera(ways[0][0])
            steps = self._intensity(ways, camera)
            used = shape.frames if has_next else shape.frames - 1
            found["camera_motion"] = np.array(np.linalg.norm(camera.flow()[:used], axis=1).mean(), np.float32)
            found["pairs_without_camera"] = np.array(camera.found[:used].count(False), np.int32)
            values = self._stored_values(shape, with_camera, has_next)
            found[WITH_CAMERA] = values["intensity"]
            found[f"{WITH_CAMERA}_max"] = values["intensity_max"]
            found["moving_share_with_camera"] = values["moving_share"]
        similarity = adjacent_ssim(luma(frames[: shape.frames])).mean().item()
        return self._stored_values(shape, steps, has_next) | {"mean_ssim": np.array(similarity, np.float32)} | found

    def _intensity(self, ways: list[Tensor], camera: Camera | None) -> Float[Tensor, "1 s h w"]:
        """Flow length in the steps of a clip, minus the camera's part if given."""
        if camera is None:
            return agreed_intensity(ways[0], ways[1]) if self.both_ways else intensity(ways[0])
        forth = torch.from_numpy(camera.flow())[None].to(ways[0].device)
        if not self.both_ways:
            return intensity(ways[0] - forth)
        back = torch.from_numpy(camera.back())[None].to(forth.device)
        return agreed_intensity(ways[0], ways[1], (forth, back))

    def _stored_values(
        self, shape: ClipShape, steps: Float[Tensor, "1 s h w"], has_next: bool
    ) -> dict[str, np.ndarray]:
        """The stored columns of a clip's intensity."""
        steps = hold_last(steps, shape.frames, torch.tensor([has_next]))
        heat = sigmoid_heatmap(self.normalisation, steps, shape.height, shape.width)
        grid = pool(heat, self.cell)[0]
        stored = (grid * 255).round().to(torch.uint8) if self.dtype == "uint8" else grid.half()
        return {
            "heatmap": stored.cpu().numpy(),
            "intensity": pool(steps, self.cell)[0].half().cpu().numpy(),
            "intensity_max": pool_max(steps, self.cell)[0].half().cpu().numpy(),
            "mean_intensity": np.array(steps.mean().item(), np.float32),
            "moving_share": np.array((heat > 0.5).float().mean().item(), np.float32),
        }


def _backward(flow: FlowFunction, frames: UInt8[Tensor, "n t h w 3"]) -> Float[Tensor, "n s 2 h w"]:
    """Flow from each frame to the one before it, in the order of the forward steps."""
    return flow(frames.flip(1)).flip(1)
