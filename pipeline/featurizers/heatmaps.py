"""Motion heatmaps on the latent grid, the underlying flow intensity, and three motion scores per clip."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from base.gpus import Cost
from base.torch_types import Device
from dataset.heatmap.normalisation import Normalisation
from dataset.parts.schema import Column
from pipeline.featurizers.base import ClipFeature, ClipFunction
from pipeline.motion.flow import Dis
from pipeline.motion.raft import Raft
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

    def load(self, shape: ClipShape, device: Device) -> ClipFunction:
        """Flow for the whole batch, the rest clip by clip, so that results do not depend on the batch."""
        from pipeline.featurizers.heatmap_values import heatmap_values

        return heatmap_values(self, shape, device)
