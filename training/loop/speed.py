"""How fast a step was: its seconds, the wait for its data, clips a second, memory, and the share of a GPU's peak."""

import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

import torch

from training.data.loader import StepData

# Dense bfloat16 FLOPs a second from the makers' data sheets, by a part of the device's name.
_PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
# A forward pass and a backward pass of twice its cost; what is computed again to save memory is no progress.
_PASSES = 3


@dataclass
class Meter:
    """Clocks steps. ``share`` is the part of the global batch that this worker computes."""

    device: torch.device
    clips: int
    share: float
    clip_flops: int = 0
    started: float = 0.0
    waited: float = 0.0

    def next(self, steps: Iterator[StepData]) -> StepData:
        """The next step's data, the wait for it clocked; a step begins here."""
        self.started = time.perf_counter()
        data = next(steps)
        self.waited = time.perf_counter() - self.started
        return data

    def read(self) -> dict[str, float]:
        """The step since :meth:`next`. ``mfu`` only where the device's peak is known."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # the optimiser may still be at work
        seconds = time.perf_counter() - self.started
        values = {"seconds": seconds, "data_wait": self.waited, "clips_per_s": self.clips / seconds}
        if self.device.type == "cuda":
            values["memory_gb"] = torch.cuda.max_memory_allocated(self.device) / 1e9
            if peak := peak_flops(self.device):
                values["mfu"] = _PASSES * self.clip_flops * self.clips * self.share / seconds / peak
        return values


@dataclass
class Pace:
    """The time that is left, from the last steps: their median, since a first step is slow. Samples come on top."""

    last: deque[float] = field(default_factory=lambda: deque(maxlen=20))

    def describe(self, seconds: float, left: int) -> str:
        """The end of a step's line, after a step of ``seconds``; empty where no step is left."""
        self.last.append(seconds)
        return f"  left {_in_words(median(self.last) * left)}" if left else ""


def _in_words(seconds: float) -> str:
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def peak_flops(device: torch.device) -> float | None:
    """The peak of a GPU, where it is known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in _PEAKS.items() if part in name), None)
