"""The interface of mask models, which follow prompted objects through a clip, and one that needs no weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float, UInt8

from base.torch_types import Device, Tensor
from pipeline.motion.flow import Dis
from pipeline.motion.prompts import Points

MaskFunction = Callable[[UInt8[Tensor, "n t h w 3"], Sequence[Points]], Bool[Tensor, "n t h w"]]
"""From clips and the prompts of each (at least one) to the union of the prompted objects' masks in every frame."""


class MaskModel(Protocol):
    """A mask model's settings; frozen, for fingerprints."""

    def identity(self) -> dict[str, Any]:
        """Everything that changes the masks; weights by their hash. WeightsError if these are missing."""
        ...

    def load(self, device: Device) -> MaskFunction:
        """The model on a device. A clip's masks must not depend on the other clips."""
        ...


@dataclass(frozen=True)
class MovingRegions:
    """No network: the region that moves like its prompt in the first step, carried along by its median flow. On CPUs.

    For the toy size, and to try prompts where no weights are. A region keeps its shape, and stops where its motion
    does.
    """

    flow: Dis = Dis()
    apart: float = 0.5
    """A pixel moves like the prompt if their flows differ by less than this share of the prompt's."""

    def __post_init__(self) -> None:
        """Check the share."""
        if not 0 < self.apart < 1:
            raise ValueError(f"apart {self.apart}: must be a share between 0 and 1")

    def identity(self) -> dict[str, Any]:
        """The flow, and what counts as moving alike."""
        return {"model": "moving_regions", "flow": self.flow.identity(), "apart": self.apart, "version": 1}

    def load(self, device: Device) -> MaskFunction:
        """Needs nothing but the flow, clip by clip."""
        import torch  # which a plan does without

        flow = self.flow.load(torch.device("cpu"))

        def follow(frames: UInt8[Tensor, "n t h w 3"], points: Sequence[Points]) -> Bool[Tensor, "n t h w"]:
            masks = []
            for clip, found in zip(frames, points, strict=True):
                steps = flow(clip[None])[0].numpy()
                masks.append(np.any([self._follow(steps, int(x), int(y)) for x, y in found], axis=0))
            return torch.from_numpy(np.stack(masks)).to(device)

        return follow

    def _follow(self, steps: Float[np.ndarray, "s 2 h w"], x: int, y: int) -> Bool[np.ndarray, "t h w"]:
        """The masks of one object in the frames before, between and after the steps."""
        import cv2

        wanted = steps[0, :, y, x]
        alike = np.linalg.norm(steps[0] - wanted[:, None, None], axis=0) <= self.apart * np.linalg.norm(wanted)
        _, labels = cv2.connectedComponents(alike.astype(np.uint8), connectivity=4)
        start = (labels == labels[y, x]).astype(np.uint8)
        masks, moved = [start], np.zeros(2)
        for step in steps:
            inside = step[:, masks[-1] > 0]
            moved = moved + (np.median(inside, axis=1) if inside.size else 0.0)
            shift = np.array([[1, 0, moved[0]], [0, 1, moved[1]]], np.float64)
            masks.append(cv2.warpAffine(start, shift, start.shape[::-1], flags=cv2.INTER_NEAREST))
        return np.asarray(np.stack(masks) > 0)
