"""The interface of flow estimators, and OpenCV's DIS flow, which needs no weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from jaxtyping import Float, UInt8

from base.torch_types import Device, Tensor

FlowFunction = Callable[[UInt8[Tensor, "n t h w 3"]], Float[Tensor, "n s 2 h w"]]


class FlowEstimator(Protocol):
    """A flow estimator's settings; frozen, for fingerprints."""

    def identity(self) -> dict[str, Any]:
        """Everything that changes the flow's values; weights by their hash."""
        ...

    def load(self, device: Device) -> FlowFunction:
        """The function from uint8 RGB frames ``[n t h w 3]`` to flow ``[n t-1 2 h w]`` in pixels, x before y."""
        ...


@dataclass(frozen=True)
class Dis:
    """Dense inverse search (Kroeger et al. 2016), OpenCV's implementation, on the CPU, pair by pair."""

    preset: Literal["ultrafast", "fast", "medium"] = "medium"

    def identity(self) -> dict[str, Any]:
        """The preset; the algorithm is deterministic and has no weights."""
        return {"estimator": "dis", "preset": self.preset, "version": 1}

    def load(self, device: Device) -> FlowFunction:
        """Reuses one search object, which keeps its buffers."""
        import cv2
        import torch

        presets = {
            "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
            "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
            "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
        }
        search = cv2.DISOpticalFlow.create(presets[self.preset])

        def flow(frames: UInt8[Tensor, "n t h w 3"]) -> Float[Tensor, "n s 2 h w"]:
            pixels = frames.cpu().numpy()
            n, t, h, w, _ = pixels.shape
            out = np.empty((n, t - 1, 2, h, w), np.float32)
            for clip in range(n):
                grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in pixels[clip]]
                for step in range(t - 1):
                    out[clip, step] = search.calc(grey[step], grey[step + 1], None).transpose(2, 0, 1)
            return torch.from_numpy(out).to(device)

        return flow
