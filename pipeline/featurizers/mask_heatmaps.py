"""Heatmaps from a mask model: what moves in a clip's first step, followed through the clip (MotiF, appendix A.1)."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dataset.heatmap.intensity import agreed_intensity, intensity, pool
from dataset.parts.schema import Column
from models.estimate import Cost
from pipeline.featurizers.base import ClipBatch, ClipFeature, ClipFunction
from pipeline.motion.flow import Dis, FlowFunction
from pipeline.motion.masks import MovingRegions
from pipeline.motion.prompts import Points, Prompts
from pipeline.motion.raft import Raft
from pipeline.motion.sam import Sam
from pipeline.video.geometry import ClipShape


@dataclass(frozen=True)
class MaskHeatmaps(ClipFeature):
    """The union of the masks of prompted objects, averaged over ``cell`` x ``cell`` pixels.

    The prompts are pixels that move most from the first frame to the second, by ``flow``; with ``both_ways``, only
    motion counts on which both directions agree (the paper has one). Clips without prompts are dark. These heatmaps are
    stored and trained on like those of the flow, but have no intensity and so no other normalisation.
    """

    kind: ClassVar[str] = "heatmaps"
    alias: ClassVar[str] = "masks"
    """What a recipe of training may call them, beside the flow's."""

    flow: Dis | Raft = Raft()
    both_ways: bool = True
    prompts: Prompts = Prompts()
    masks: Sam | MovingRegions = Sam()
    cell: int = 8

    def identity(self) -> dict[str, Any]:
        """Flow, prompts, mask model and grid."""
        return {
            "flow": self.flow.identity(),
            "both_ways": self.both_ways,
            "prompts": self.prompts.identity(),
            "masks": self.masks.identity(),
            "cell": self.cell,
            "version": 1,
        }

    def facts(self) -> dict[str, Any]:
        """What training may call them, and where the weights came from."""
        return {"alias": self.alias, **(self.masks.weights.facts() if isinstance(self.masks, Sam) else {})}

    def check(self, shape: ClipShape) -> None:
        """The latent grid must divide the frame, and prompts need cells of at least a pixel."""
        if self.cell < 1 or shape.height % self.cell or shape.width % self.cell:
            raise ValueError(f"cell {self.cell}: must divide height {shape.height} and width {shape.width}")
        if self.prompts.rows > shape.height or self.prompts.columns > shape.width:
            raise ValueError(
                f"prompts.rows {self.prompts.rows} x prompts.columns {self.prompts.columns}: must be at most "
                f"{shape.height} x {shape.width}, the pixels of a frame"
            )

    def columns(self, shape: ClipShape) -> tuple[Column, ...]:
        """Heatmap, moving share and prompts."""
        grid = (shape.frames, shape.height // self.cell, shape.width // self.cell)
        return (
            Column("heatmap", "uint8", grid, "t h w", 1 / 255, "share of the cell that the masks cover, 0 to 1"),
            Column("moving_share", "float32", about="share of pixels that the masks cover"),
            Column("prompts", "int32", about="number of prompts; none: nothing moves at first"),
            Column("points", "int16", (self.prompts.most, 2), "k xy", 1.0, "prompts in the first frame, x y; or -1 -1"),
        )

    def cost(self, shape: ClipShape) -> Cost | None:
        """The flow's of one step, and the mask model's with all prompts. None if both compute on CPUs."""
        ways = 2 if self.both_ways else 1
        costs = [self.flow.cost(2, shape.height, shape.width).times(ways)] if isinstance(self.flow, Raft) else []
        if isinstance(self.masks, Sam):
            costs.append(self.masks.cost(shape.frames, shape.height, shape.width, self.prompts.most))
        if not costs:
            return None
        flops, moved = sum(one.flops for one in costs), sum(one.moved for one in costs)
        return replace(costs[-1], flops=flops, moved=moved)

    def load(self, shape: ClipShape, device: torch.device) -> ClipFunction:
        """Flow of all first steps together; then the masks of the clips that have prompts."""
        flow, masks = self.flow.load(device), self.masks.load(device)
        grid = (shape.frames, shape.height, shape.width)

        @torch.inference_mode()
        def compute(batch: ClipBatch) -> dict[str, np.ndarray]:
            frames = batch.tensor(device)
            points = self._find_prompts(flow, frames[:, :2])
            moving = [number for number, found in enumerate(points) if len(found)]
            covered = torch.zeros(len(frames), *grid, dtype=torch.bool, device=device)
            if moving:
                covered[moving] = masks(frames[moving, : shape.frames], [points[number] for number in moving])
            return self._stored_values(covered, points)

        return compute

    def _find_prompts(self, flow: FlowFunction, pairs: UInt8[Tensor, "n 2 h w 3"]) -> list[Points]:
        """The prompts of each clip."""
        forth = flow(pairs)
        lengths = agreed_intensity(forth, flow(pairs.flip(1))) if self.both_ways else intensity(forth)
        return [self.prompts.find(length) for length in lengths[:, 0].float().cpu().numpy()]

    def _stored_values(self, covered: Tensor, points: list[Points]) -> dict[str, np.ndarray]:
        grids: list[Float[Tensor, "t gh gw"]] = [pool(one[None].float(), self.cell)[0] for one in covered]
        padded = np.full((len(points), self.prompts.most, 2), -1, np.int16)
        for row, found in zip(padded, points, strict=True):
            row[: len(found)] = found
        return {
            "heatmap": torch.stack([(grid * 255).round().to(torch.uint8) for grid in grids]).cpu().numpy(),
            "moving_share": np.array([grid.mean().item() for grid in grids], np.float32),
            "prompts": np.array([len(found) for found in points], np.int32),
            "points": padded,
        }
