"""``motif sample``: an image and a sentence in, a video out."""

import csv
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from diffusion.errors import InputError
from diffusion.generation import Generator, Request, read_image
from diffusion.process.sampling import Sampling
from diffusion.storage import Folder
from diffusion.video_file import encode_video
from infra.options import parse, plural, say, take_positional
from training.validation.runs import find_candidates


@dataclass(frozen=True)
class Options:
    """Generate videos with a model folder, or with the newest checkpoint of a run."""

    image: Path | None = None
    """The first frame; a JPEG, PNG or WebP file of any size, or a video, whose first frame is taken."""
    prompt: str = ""
    """What is to happen."""
    pairs: Path | None = None
    """Instead of both: a CSV file with columns image and prompt, and optionally seed."""
    out: str = ""
    """An .mp4 file, or a folder where there are several videos; local or s3://."""
    seed: int = 0
    """The seed of the first video; the same seed gives the same video."""
    num: int = 1
    """Videos a pair, of consecutive seeds."""
    fps: float | None = None
    """Frame rate that the model is told; by default the middle of what it was trained on."""
    batch: int = 4
    """Videos sampled together."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    sampling: Annotated[Sampling, tyro.conf.arg(name="")] = Sampling()


def main(args: list[str]) -> None:
    """Run the command."""
    place, rest = take_positional(args, "MODEL", "motif sample")
    options = parse(Options, rest, f"motif sample {place or 'MODEL'}")
    requests = _requests(options)
    single = options.out.endswith(".mp4")
    if single and len(requests) > 1:
        raise InputError(f"--out {options.out}: {len(requests)} videos are to be written; name a folder.")
    (model,) = find_candidates([place])
    started = time.perf_counter()
    generator = Generator.load(model.weights(), _device(options.device))
    names = [f"{number:04}.mp4" for number in range(len(requests))]
    if single:
        folder, _, name = options.out.rpartition("/")
        target, names = Folder(folder or "."), [name]
    else:
        target = Folder(options.out)
    for first in range(0, len(requests), options.batch):
        some = requests[first : first + options.batch]
        say(f"{model.name}: {plural(len(some), 'video')}, {first + len(some)} of {len(requests)}")
        videos = generator.generate(some, options.sampling, lambda done, of: say(f"  step {done} of {of}"))
        for name, request, frames in zip(names[first:], some, videos, strict=False):
            told = {"prompt": request.prompt, "seed": str(request.seed), "model": f"{model.name} ({place})"}
            target.write(name, encode_video(frames, generator.rate(request), metadata=told))
    seconds = round(time.perf_counter() - started, 2)
    listed = [{"file": n, "prompt": r.prompt, "seed": r.seed} for n, r in zip(names, requests, strict=True)]
    print(json.dumps({"model": place, "out": target.uri, "videos": listed, "seconds": seconds}))


def _requests(options: Options) -> list[Request]:
    if not options.out:
        raise InputError("--out is missing: name an .mp4 file, or a folder.")
    for name in ("num", "batch"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} {getattr(options, name)}: at least 1.")
    if options.fps is not None and not 0 < options.fps <= 240:
        raise InputError(f"--fps {options.fps:g}: above 0, at most 240.")
    if (options.image is None) == (options.pairs is None):
        raise InputError("give --image and --prompt, or --pairs with a CSV file of both.")
    rows = [(options.image, options.prompt, options.seed)] if options.image else _read_pairs(options)
    return [
        Request(image, prompt, seed + more, options.fps)
        for path, prompt, seed in rows
        for image in [read_image(path)]
        for more in range(options.num)
    ]


def _read_pairs(options: Options) -> list[tuple[Path, str, int]]:
    """Rows of a CSV file; images are relative to it."""
    path = options.pairs
    assert path is not None
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--pairs {path} cannot be read: {error}.") from error
    if not rows or not {"image", "prompt"} <= rows[0].keys():
        raise InputError(f"--pairs {path}: a CSV file with columns image and prompt, and at least one row.")
    try:
        return [(path.parent / row["image"], row["prompt"], int(row.get("seed") or options.seed)) for row in rows]
    except ValueError as error:
        raise InputError(f"--pairs {path}: a seed is no whole number ({error}).") from error


def _device(wanted: str) -> torch.device:
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise InputError("--device cuda: this machine has no GPU that torch can use. Set it to auto or cpu.")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")
