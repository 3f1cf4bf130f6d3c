"""The speed of a step: seconds, wait for data, clips per second, memory, and model FLOPs utilisation (MFU)."""

import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

import torch

from base.gpus import find_gpu
from training.data.loader import StepData


@dataclass
class Meter:
    """Times steps. ``share`` is this worker's part of the global batch.

    ``clip_flops`` are those of a step, forward and backward, for one clip; recomputation does not count.
    """

    device: torch.device
    clips: int
    share: float
    clip_flops: int = 0
    begun: deque[tuple[float, float]] = field(default_factory=deque)
    """Of each step that is not read yet: when it began, and how long it waited for its data."""
    last: float = -math.inf
    """When the step before was read."""

    def next(self, steps: Iterator[StepData]) -> StepData:
        """Start a step and return its data, timing the wait."""
        started = time.perf_counter()
        data = next(steps)
        self.begun.append((started, time.perf_counter() - started))
        return data

    def read(self) -> dict[str, float]:
        """The oldest step that is not read yet, which has just been computed. ``mfu`` only if the peak is known.

        Its seconds begin at :meth:`next`, or when the step before was read if that was later.
        """
        started, waited = self.begun.popleft()
        seconds = time.perf_counter() - max(started, self.last)
        self.last = time.perf_counter()
        values = {"seconds": seconds, "data_wait": waited, "clips_per_s": self.clips / seconds}
        if self.device.type == "cuda":
            values["memory_gb"] = torch.cuda.max_memory_allocated(self.device) / 1e9
            if peak := peak_flops(self.device):
                values["mfu"] = self.clip_flops * self.clips * self.share / seconds / peak
        return values


@dataclass
class Pace:
    """The remaining time, from the median of the last steps, since first steps are slow. Sampling is not included."""

    last: deque[float] = field(default_factory=lambda: deque(maxlen=20))

    def describe(self, seconds: float, left: int) -> str:
        """The end of a step's line, after a step of ``seconds``; empty if no step is left."""
        self.last.append(seconds)
        return f"  left {_in_words(median(self.last) * left)}" if left else ""


def _in_words(seconds: float) -> str:
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def peak_flops(device: torch.device) -> float | None:
    """The peak FLOP/s of a GPU in bfloat16, or None if unknown."""
    if device.type != "cuda":
        return None
    gpu = find_gpu(torch.cuda.get_device_name(device))
    return gpu.peak("bfloat16") if gpu else None
