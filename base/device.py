"""Chooses the device of a process."""

import torch

from base.errors import InputError


def find_device(wanted: str, name: str = "--device") -> torch.device:
    """``auto``, ``cpu`` or ``cuda`` as a device; InputError, naming the option, if it is not available."""
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise InputError(f"{name} cuda: this machine has no GPU that torch can use. Set it to auto or cpu.")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")
