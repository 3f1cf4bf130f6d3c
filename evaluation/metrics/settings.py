"""What is measured with which weights. Needs no torch, so that the command line answers at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from base.errors import InputError


@dataclass(frozen=True)
class Settings:
    """The settings of a measurement. Metrics whose weights are not given are named as not computed."""

    prompts: Path | None = None
    """A CSV file with columns name (of the video, without .mp4) and prompt and, optionally, image and scene."""
    clip: str = ""
    """CLIP, for alignment and background consistency: an open_clip checkpoint, as a folder, file, hub id or s3://."""
    clip_architecture: str = ""
    """open_clip's name of it, such as ViT-B-32-quickgelu, if no open_clip_config.json lies beside it."""
    dino: str = ""
    """DINO ViT-B/16 in transformers' layout, such as facebook/dino-vitb16, for subjects."""
    raft: str = ""
    """RAFT-large for the dynamic degree: a file, or "torchvision" for the weights that preprocessing uses."""
    aesthetic: str = ""
    """LAION's aesthetic predictor, sa_0_4_vit_l_14_linear.pth."""
    aesthetic_clip: str = ""
    """CLIP ViT-L-14 for it, like --clip, which is the default."""
    aesthetic_clip_architecture: str = ""
    """open_clip's name of that, like --clip-architecture."""
    i3d: Path | None = None
    """I3D as a TorchScript file, for FVD. Such a file is a program: give only one that you trust."""
    i3d_sha256: str = ""
    """Refuse another file than the one with this SHA-256."""
    reference: Path | None = None
    """A folder of real videos of the same length and rate, for FVD."""
    batch: int = 16
    """Frames in one pass of a network."""
    device: Literal["auto", "cpu", "cuda"] = "auto"


def check(settings: Settings) -> None:
    """InputError if settings are missing or contradict each other."""
    if settings.prompts is None:
        raise InputError("--prompts is missing: give a CSV file with columns name and prompt and, optionally, image.")
    if settings.batch < 1:
        raise InputError(f"--batch {settings.batch}: must be at least 1.")
    for option, needed in (
        ("clip_architecture", "clip"),
        ("aesthetic_clip", "aesthetic"),
        ("aesthetic_clip_architecture", "aesthetic_clip"),
        ("i3d_sha256", "i3d"),
        ("reference", "i3d"),
    ):
        if getattr(settings, option) and not getattr(settings, needed):
            raise InputError(f"--{option.replace('_', '-')}: needs --{needed.replace('_', '-')}, which is missing.")
    if settings.aesthetic and not (settings.clip or settings.aesthetic_clip):
        raise InputError(f"--aesthetic {settings.aesthetic}: rates CLIP's features; give --aesthetic-clip as well.")
