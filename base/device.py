"""Chooses the device of a process, and how exactly it computes there."""

from typing import Literal

import torch

from base.errors import InputError

Kernels = Literal["usual", "fast"]


def find_device(wanted: str, name: str = "--device") -> torch.device:
    """``auto``, ``cpu`` or ``cuda`` as a device; InputError, naming the option, if it is not available."""
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise InputError(f"{name} cuda: this machine has no GPU that torch can use. Set it to auto or cpu.")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")


def set_kernels(device: torch.device, kernels: Kernels) -> None:
    """Choose this process's kernels on a GPU; does nothing on a CPU. What ``fast`` gains is not measured yet.

    ``usual`` are torch's own. With ``fast``, matrix products of float32 round their inputs to TF32 (10 bits, as torch's
    convolutions do anyway), and cuDNN tries its convolutions at each new shape and takes the fastest. That may be
    another one after the next start, so a run that is resumed then differs in its last digits from one that was not.
    """
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high" if kernels == "fast" else "highest")
        torch.backends.cudnn.benchmark = kernels == "fast"
