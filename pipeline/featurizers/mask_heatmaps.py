"""Heatmaps from a mask model: what moves in a clip's first step, followed through the clip (MotiF, appendix A.1)."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from base.gpus import Cost
from base.torch_types import Device
from dataset.parts.schema import Column
from pipeline.featurizers.base import ClipFeature, ClipFunction
from pipeline.motion.flow import Dis
from pipeline.motion.masks import MovingRegions
from pipeline.motion.prompts import Prompts
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

    def load(self, shape: ClipShape, device: Device) -> ClipFunction:
        """Flow of all first steps together; then the masks of the clips that have prompts."""
        from pipeline.featurizers.mask_values import mask_values

        return mask_values(self, shape, device)
