"""I3D (Carreira & Zisserman 2017) as a TorchScript file: features of whole videos, for FVD.

A TorchScript file is a program. It cannot run Python, but it can keep the machine busy, crash the process, and read or
write files. So it is loaded only where the user names it, and may be bound to a hash.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from base.errors import InputError, WeightsError
from base.weights import file_sha256
from evaluation.metrics.networks.describe import describe

_PURPOSE = "--i3d"


class I3d:
    """The network on a device."""

    def __init__(self, script: Any, path: Path, device: torch.device) -> None:
        self.script, self.path, self.device = script, path, device

    @torch.inference_mode()
    def __call__(self, frames: UInt8[np.ndarray, "t h w 3"]) -> Float[np.ndarray, " d"]:
        """Features of a video; WeightsError if the file cannot compute them.

        The file resizes to 224 x 224 and rescales by itself, as StyleGAN-V's does.
        """
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device)
        video = rearrange(pixels, "t h w c -> 1 c t h w").float()
        try:
            found = self.script(video, rescale=True, resize=True, return_features=True)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, torch.jit.Error) as error:
            raise WeightsError(
                f"{_PURPOSE} {self.path} cannot compute features of {len(frames)} frames ({describe(error)}). It must "
                "take a video b c t h w, rescale, resize and return_features, as StyleGAN-V's i3d_torchscript.pt does."
            ) from error
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != 1:
            raise WeightsError(f"{_PURPOSE} {self.path} does not return one row of features for a video.")
        return found[0].float().cpu().numpy()


def load_i3d(path: Path, sha256: str, device: torch.device) -> tuple[I3d, str]:
    """Load a TorchScript file, and its hash; its code may run.

    InputError if it is not there or has another hash than ``sha256``, which may be empty; WeightsError if it cannot be
    loaded.
    """
    if not path.is_file():
        raise InputError(f"{_PURPOSE} {path}: there is no such file.")
    found = file_sha256(path)
    if sha256 and found != sha256.lower():
        raise InputError(f"{_PURPOSE} {path} has the SHA-256 {found}, and --i3d-sha256 is another. It is not loaded.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # there is no other loader for these files
            script: Any = torch.jit.load(path, map_location=device)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise WeightsError(f"{_PURPOSE} {path} is not a TorchScript file: {describe(error)}.") from error
    return I3d(script.eval(), path, device), f"sha256:{found}"
