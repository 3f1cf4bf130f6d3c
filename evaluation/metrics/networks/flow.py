"""The length of the flow between neighbouring frames, by DIS or RAFT."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from base.errors import WeightsError
from base.weights import Weights
from evaluation.metrics.networks.describe import describe
from pipeline.motion.flow import Dis, FlowFunction
from pipeline.motion.raft import Raft

_UPDATES = 20  # of VBench
_MULTIPLE, _LEAST = 8, 128  # sides that RAFT needs
_VOLUME = 2 << 30  # bytes of RAFT's correlations at once; those of a pair grow with the square of its pixels


class FlowLengths:
    """Lengths of flow in pixels. ``at_once`` says how many pairs of frames of a height and width to compute at a time.

    Frames are padded to sides that are multiples of ``multiple``, and at least ``least``.
    """

    def __init__(
        self, flow: FlowFunction, at_once: Callable[[int, int], int], multiple: int = 1, least: int = 1
    ) -> None:
        self.flow, self.at_once = flow, at_once
        self.multiple, self.least = multiple, least

    def __call__(self, frames: UInt8[np.ndarray, "t h w 3"]) -> Float32[np.ndarray, "s h w"]:
        """The length at each pixel of each frame but the last, in pixels of a frame."""
        pairs, height, width = len(frames) - 1, *frames.shape[1:3]
        top, left = self._margin(height), self._margin(width)
        padded = np.pad(frames, ((0, 0), top, left, (0, 0)), "edge") if top[1] or left[1] else frames
        lengths = np.empty((pairs, height, width), np.float32)
        batch = self.at_once(*padded.shape[1:3])
        for first in range(0, pairs, batch):
            some = torch.from_numpy(np.ascontiguousarray(padded[first : first + batch + 1]))
            found = self.flow(some[None])[0].norm(dim=1).cpu().numpy()
            lengths[first : first + batch] = found[:, top[0] : top[0] + height, left[0] : left[0] + width]
        return lengths

    def _margin(self, side: int) -> tuple[int, int]:
        """Pixels to add before and after, by repeating those at the edge; the middle stays the middle."""
        wanted = max(self.least, -(-side // self.multiple) * self.multiple)
        return (wanted - side) // 2, wanted - side - (wanted - side) // 2


def load_dis(batch: int) -> FlowLengths:
    """DIS flow on the CPU; no weights."""
    return FlowLengths(Dis().load(torch.device("cpu")), lambda height, width: batch)


def load_raft(source: str, device: torch.device, batch: int) -> tuple[FlowLengths, str]:
    """RAFT-large in full precision with VBench's 20 updates, and the hash of its tensors.

    ``source`` is a file of torchvision's model, or ``torchvision`` for the weights that `motif preprocess` uses.
    WeightsError if it cannot be found, or is another model.
    """
    raft = Raft(weights=Weights(source), updates=_UPDATES, precision="float32", clips_a_batch=1)
    try:
        tensors, flow = str(raft.identity()["weights_tensors"]), raft.load(device)
    except WeightsError as error:
        if source != "torchvision":
            raise WeightsError(f"--raft {source}: {error}") from error
        raise WeightsError(
            "--raft torchvision: these weights are not on this machine and cannot be downloaded. Give their file, or "
            "omit the option."
        ) from error
    except RuntimeError as error:  # tensors of other shapes, or too many
        raise WeightsError(f"--raft {source} is not torchvision's RAFT-large: {describe(error)}.") from error

    def at_once(height: int, width: int) -> int:
        return pairs_at_once(height, width, batch)

    return FlowLengths(flow, at_once, _MULTIPLE, _LEAST), tensors


def pairs_at_once(height: int, width: int, batch: int) -> int:
    """How many pairs RAFT takes: at most ``batch``, and as many as have 2 GiB of correlations.

    It keeps the correlation of each cell of 8 x 8 pixels with each other one, and a pyramid of a third as much.
    """
    cells = height * width // 64
    return max(1, min(batch, _VOLUME // (cells * cells * 4 * 4 // 3)))
