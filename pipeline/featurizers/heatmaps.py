"""Motion heatmaps on the latent grid, the flow intensity they come from, and three scores of a clip's motion."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from pipeline.dataset.schema import Column
from pipeline.featurizers.base import ClipBatch, ClipFeature, ClipFunction
from pipeline.motion.flow import Dis, FlowFunction
from pipeline.motion.heatmap import Normalisation, agreed_intensity, hold_last, intensity, pool
from pipeline.motion.raft import Raft
from pipeline.motion.similarity import adjacent_ssim, luma
from pipeline.video.geometry import ClipShape


@dataclass(frozen=True)
class Heatmaps(ClipFeature):
    """m' of MotiF: the sigmoid of normalised flow intensity, averaged over ``cell`` x ``cell`` pixels.

    The intensity is stored too (area mean, in pixels a frame), so another normalisation needs no new flow.
    ``both_ways`` counts as motion only what forward and backward flow agree on; it keeps the motion of an object from
    running over the background in front of it and costs a second flow. The paper uses forward flow.
    """

    kind: ClassVar[str] = "heatmaps"

    flow: Dis | Raft = Raft()
    both_ways: bool = False
    normalisation: Normalisation = Normalisation()
    cell: int = 8
    dtype: Literal["uint8", "float16"] = "uint8"

    def identity(self) -> dict[str, Any]:
        """Flow, direction, normalisation, grid and number format."""
        return {
            "flow": self.flow.identity(),
            "both_ways": self.both_ways,
            "normalisation": self.normalisation.identity(),
            "cell": self.cell,
            "dtype": self.dtype,
            "version": 1,
        }

    def check(self, shape: ClipShape) -> None:
        """The latent grid must divide the frame."""
        if self.cell < 1 or shape.height % self.cell or shape.width % self.cell:
            raise ValueError(f"cell {self.cell}: must divide height {shape.height} and width {shape.width}")

    def columns(self, shape: ClipShape) -> tuple[Column, ...]:
        """Heatmap, intensity and scores."""
        grid = (shape.frames, shape.height // self.cell, shape.width // self.cell)
        scale = 1 / 255 if self.dtype == "uint8" else 1.0
        return (
            Column("heatmap", self.dtype, grid, "t h w", scale, "motion heatmap, 0 to 1"),
            Column("intensity", "float16", grid, "t h w", 1.0, "mean flow length of the cell, pixels a frame"),
            Column("mean_intensity", "float32", about="mean flow length, pixels a frame"),
            Column("moving_share", "float32", about="share of pixels whose heatmap is above 0.5"),
            Column("mean_ssim", "float32", about="mean SSIM of neighbouring frames, 1 is still"),
        )

    def load(self, shape: ClipShape, device: torch.device) -> ClipFunction:
        """Flow for the whole batch at once, the rest clip by clip: the same bits whatever the batch."""
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
        steps = agreed_intensity(*ways) if self.both_ways else intensity(ways[0])
        steps = hold_last(steps, shape.frames, torch.tensor([has_next]))
        heat = self.normalisation.heatmap(steps, shape.height, shape.width)
        grid = pool(heat, self.cell)[0]
        stored = (grid * 255).round().to(torch.uint8) if self.dtype == "uint8" else grid.half()
        return {
            "heatmap": stored.cpu().numpy(),
            "intensity": pool(steps, self.cell)[0].half().cpu().numpy(),
            "mean_intensity": np.array(steps.mean().item(), np.float32),
            "moving_share": np.array((heat > 0.5).float().mean().item(), np.float32),
            "mean_ssim": np.array(adjacent_ssim(luma(frames[: shape.frames])).mean().item(), np.float32),
        }


def _backward(flow: FlowFunction, frames: UInt8[Tensor, "n t h w 3"]) -> Float[Tensor, "n s 2 h w"]:
    """Flow from each frame to the one before it, in the order of the forward steps."""
    return flow(frames.flip(1)).flip(1)


def stored_heatmap(
    normalisation: Normalisation, values: Float[np.ndarray, "n t h w"], height: int, width: int
) -> Float[Tensor, "n t h w"]:
    """The heatmap of a stored intensity under another normalisation.

    The sigmoid of a cell's mean instead of the mean of its pixels' sigmoids: close, and free of a new flow.
    """
    cells = torch.from_numpy(np.ascontiguousarray(values)).float()
    return normalisation.heatmap(cells, height, width)
