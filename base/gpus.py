"""GPUs by their data sheets: speed without sparsity, memory, and its speed; and what a computation asks of one."""

import re
from dataclasses import dataclass, replace
from typing import Literal

from base.errors import InputError

InferencePrecision = Literal["float32", "float16", "bfloat16"]

UTILISATION = 0.4
"""A realistic share of the peak for networks of convolutions and attention."""


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU: dense FLOP/s in float16, bytes per second, bytes (of 10^9 a GB)."""

    name: str
    flops: float
    bandwidth: float
    memory: float
    bfloat16: bool = True
    """Whether it is as fast in bfloat16."""

    def peak(self, precision: str) -> float | None:
        """Dense FLOP/s in a precision; None if the table has no figure for it (float32)."""
        return self.flops if precision == "float16" or (precision == "bfloat16" and self.bfloat16) else None


GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("A100", 312e12, 2.04e12, 80e9),  # SXM, 80 GB
        Gpu("H100", 989e12, 3.35e12, 80e9),  # SXM
        Gpu("H200", 989e12, 4.8e12, 141e9),
        Gpu("L40S", 362e12, 0.864e12, 48e9),
        Gpu("L4", 121e12, 0.3e12, 24e9),
        Gpu("A10G", 70e12, 0.6e12, 24e9),
        Gpu("T4", 65e12, 0.32e12, 16e9, bfloat16=False),
        Gpu("4090", 165e12, 1.008e12, 24e9),
    )
}


def named_gpu(name: str) -> Gpu:
    """The GPU of a name in the table; InputError if there is none."""
    if name not in GPUS:
        raise InputError(f"--gpu {name}: must be one of {', '.join(GPUS)}.")
    return GPUS[name]


def find_gpu(device_name: str) -> Gpu | None:
    """The GPU that a device's name ("NVIDIA A100-SXM4-80GB") names, or None."""
    words = re.split(r"[\s-]", device_name)
    return next((gpu for name, gpu in GPUS.items() if any(word.endswith(name) for word in words)), None)


@dataclass(frozen=True)
class Cost:
    """A computation without gradients: FLOPs (a multiply-add is two), and bytes that its kernels read and write."""

    flops: float
    moved: float
    precision: InferencePrecision

    def times(self, factor: float) -> "Cost":
        """The cost of doing it ``factor`` times."""
        return replace(self, flops=self.flops * factor, moved=self.moved * factor)
