"""The options of ``motif sample``. Needs no torch, so that the command line answers at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from base.errors import InputError
from diffusion.options import MOTION_LEVELS, SamplingChanges

FORMATS = (".mp4", ".gif")
NO_IMAGE = "give --image and --prompt, or --pairs with a CSV file or a folder of both"
_OTHER_FORMATS = (".apng", ".avi", ".mkv", ".mov", ".png", ".webm", ".webp")


@dataclass(frozen=True)
class Options:
    """Generate videos with a model folder, or with the newest checkpoint of a run."""

    image: Path | None = None
    """The first frame; a JPEG, PNG or WebP file of any size, or a video, of which the first frame is used. Not for
    text-to-video models."""
    prompt: str | None = None
    """What should happen; "" to leave it to the picture."""
    pairs: Path | None = None
    """Instead of --image and --prompt: a CSV file with columns image, prompt and optionally seed; or a folder with
    name.txt next to name.png, .jpg, .webp or .mp4. For text-to-video models, both without images."""
    out: str = ""
    """An .mp4 or .gif file, or a folder for several videos; local or s3://."""
    grid: str = ""
    """Also write an .mp4 or .gif file of all videos side by side: one row per image, one column per prompt or seed; for
    text-to-video models, one row per prompt, one column per seed."""
    negative_prompt: str = ""
    """What should not appear."""
    seed: int = 0
    """The seed of the first video; the same seed gives the same video."""
    num: int = 1
    """Videos per pair, with consecutive seeds."""
    fps: float | None = None
    """Frame rate that the model is conditioned on; by default the usual rate of its training data."""
    frames: int | None = None
    """Frames per video, at most the model's own number, which is the default."""
    motion_level: int | None = None
    """How much moves, from 1 to 10, for models that take it; by default 5."""
    batch: int = 4
    """Videos sampled together on a GPU; a CPU takes one at a time."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the network; bfloat16 halves its memory."""
    decoding: Literal["float32", "bfloat16"] = "float32"
    """Precision of the autoencoder's decoder; docs/serving.md says how far bfloat16 changes frames."""
    kernels: Literal["usual", "fast"] = "usual"
    """On a GPU, fast allows TF32 and has cuDNN choose its kernels by time, so the last digits may change."""
    compile: bool = False
    """Compile the network: the first video takes minutes longer, later ones are faster."""
    sampling: Annotated[SamplingChanges, tyro.conf.arg(name="")] = SamplingChanges()


def check(options: Options) -> None:
    """InputError if options are missing or contradict each other."""
    if not options.out:
        raise InputError("--out is missing: give an .mp4 or .gif file, or a folder.")
    _check_numbers(options)
    if options.image and options.pairs:
        raise InputError(f"{NO_IMAGE}.")
    if options.prompt is None and not (options.image or options.pairs):
        raise InputError(f"{NO_IMAGE}; for a text-to-video model, --prompt alone.")
    if options.image and options.prompt is None:
        raise InputError('--prompt is missing: say what should happen, or give "" to leave it to the picture.')
    if options.pairs and options.prompt is not None:
        raise InputError("--prompt: with --pairs each image has its own prompt. Omit it.")
    if options.grid == options.out:
        raise InputError(f"--grid {options.grid}: --out writes this file. Give another one.")
    for name, place in (("out", options.out), ("grid", options.grid)):
        suffix = Path(place).suffix.lower()
        if suffix in _OTHER_FORMATS or (name == "grid" and place and suffix not in FORMATS):
            raise InputError(f"--{name} {place}: videos are written as .mp4 or .gif.")


def _check_numbers(options: Options) -> None:
    for name in ("num", "batch"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} {getattr(options, name)}: must be at least 1.")
    if options.fps is not None and not 0 < options.fps <= 240:
        raise InputError(f"--fps {options.fps:g}: must be above 0 and at most 240.")
    if options.motion_level is not None and not 1 <= options.motion_level <= MOTION_LEVELS:
        raise InputError(f"--motion-level {options.motion_level}: must be from 1 to {MOTION_LEVELS}.")
