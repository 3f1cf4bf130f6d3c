"""``motif sample``: an image and a sentence in, a video out."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from jaxtyping import UInt8

from base.device import find_device
from base.errors import InputError
from base.storage.folder import Folder
from diffusion.options import SamplingChanges
from infra.options import parse, plural, report, take_positional
from media.grid import arrange, tile
from media.pairs import Pair, read_pairs
from media.picture import read_image
from media.video_file import encode
from models.card import checked_sampling
from models.find import Candidate, find_candidates
from models.folder import revision
from models.generator import Generator, Precision, Request
from models.tags import model_tags, request_tags

_FORMATS = (".mp4", ".gif")
_OTHER_FORMATS = (".apng", ".avi", ".mkv", ".mov", ".png", ".webm", ".webp")
_WIDEST_GRID = 16_384  # pixels per side: the limit of H.264
_SEEDS = 2**63  # torch generators accept no larger ones


@dataclass(frozen=True)
class Options:
    """Generate videos with a model folder, or with the newest checkpoint of a run."""

    image: Path | None = None
    """The first frame; a JPEG, PNG or WebP file of any size, or a video, of which the first frame is used."""
    prompt: str | None = None
    """What should happen; "" to leave it to the picture."""
    pairs: Path | None = None
    """Instead of --image and --prompt: a CSV file with columns image, prompt and optionally seed; or a folder with
    name.txt next to name.png, .jpg, .webp or .mp4."""
    out: str = ""
    """An .mp4 or .gif file, or a folder for several videos; local or s3://."""
    grid: str = ""
    """Also write an .mp4 or .gif file of all videos side by side: one row per image, one column per prompt or seed."""
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
    batch: int = 4
    """Videos sampled together on a GPU; a CPU takes one at a time."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision = "float32"
    """Of the network; bfloat16 halves its memory."""
    compile: bool = False
    """Compile the network: the first video takes minutes longer, later ones are faster."""
    sampling: Annotated[SamplingChanges, tyro.conf.arg(name="")] = SamplingChanges()


@dataclass(frozen=True)
class _Video:
    """A video to write: its file name, image, prompt and seed."""

    name: str
    image: Path
    prompt: str
    seed: int


def main(args: list[str]) -> None:
    """Run the command."""
    place, options = read(args)
    target, videos = _plan(options)
    (model,) = find_candidates([place])
    if options.frames is not None and not 1 <= options.frames <= model.facts.frames:
        raise InputError(f"--frames {options.frames}: {model.name} makes videos of 1 to {model.facts.frames} frames.")
    started = time.perf_counter()
    run = _Run(options, model, target)
    rows = arrange([video.image for video in videos]) if options.grid else []
    run.check_grid(rows)
    run.write(videos)
    run.write_grid(rows)
    listed = [{"file": video.name, "prompt": video.prompt, "seed": video.seed} for video in videos]
    summary = {"model": place, "out": target.uri, "videos": listed} | ({"grid": options.grid} if options.grid else {})
    print(json.dumps(summary | {"seconds": round(time.perf_counter() - started, 2)}))


def read(args: list[str]) -> tuple[str, Options]:
    """The model and the options of a command line; InputError if they are wrong."""
    place, rest = take_positional(args, "MODEL", "motif sample")
    options = parse(Options, rest, f"motif sample {place or 'MODEL'}")
    _check(options)
    return place, options


class _Run:
    """Samples in batches and writes each batch as soon as it is ready."""

    def __init__(self, options: Options, model: Candidate, target: Folder) -> None:
        self.sampling = checked_sampling(model.facts, options.sampling, model.name)  # before any weights are loaded
        device = find_device(options.device)
        self.options, self.model, self.target = options, model, target
        self.generator = Generator.load(model.weights(), device, options.precision, options.compile)
        self.batch = min(options.batch, self.generator.at_once or options.batch)
        self.metadata = model_tags(model.name, revision(model.weights()), self.sampling)
        self.kept: list[UInt8[np.ndarray, "t h w 3"]] = []
        self.rate = 0.0

    def write(self, videos: Sequence[_Video]) -> None:
        """Sample and write all videos; written ones are kept if a later batch fails."""
        written = 0
        try:
            for first in range(0, len(videos), self.batch):
                some = videos[first : first + self.batch]
                report(f"{self.model.name}: {plural(len(some), 'video')}, {first + len(some)} of {len(videos)}")
                requests = self._requests(some)
                for video, request, frames in zip(some, requests, self._generate(requests), strict=True):
                    self._write(video.name, frames, request)
                    written += 1
        finally:
            if 0 < written < len(videos):
                report(f"{written} of {plural(len(videos), 'video')} are written and kept in {self.target.uri}")

    def check_grid(self, rows: list[list[int]]) -> None:
        """InputError if the grid is larger than a video can be."""
        height, width = self.generator.size
        sides = (len(rows) * height, max(map(len, rows), default=0) * width)
        if max(sides) > _WIDEST_GRID:
            raise InputError(
                f"--grid {self.options.grid}: {len(rows)} rows make {sides[0]} x {sides[1]} pixels, and a video has at "
                f"most {_WIDEST_GRID} per side. Omit it, or sample fewer videos."
            )

    def write_grid(self, rows: list[list[int]]) -> None:
        """Write all videos as one, if --grid is given."""
        if self.options.grid:
            folder, name = _split(self.options.grid)
            folder.write(name, encode(name, tile(self.kept, rows), self.rate, self.metadata))

    def _requests(self, videos: Sequence[_Video]) -> list[Request]:
        pictures = {video.image: read_image(video.image, self.generator.size) for video in videos}
        options = self.options
        return [
            Request(pictures[video.image], video.prompt, video.seed, options.fps, options.negative_prompt)
            for video in videos
        ]

    def _generate(self, requests: Sequence[Request]) -> UInt8[np.ndarray, "b t h w 3"]:
        def summary(done: int, of: int) -> None:
            report(f"  step {done} of {of}")

        try:
            return self.generator.generate(requests, self.sampling, summary, self.options.frames)
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"--batch {self.options.batch}: the GPU has too little memory. Reduce it, or set --precision bfloat16."
            ) from error

    def _write(self, name: str, frames: UInt8[np.ndarray, "t h w 3"], request: Request) -> None:
        self.rate = self.generator.rate(request)
        summary = self.metadata | request_tags(request, self.rate)
        self.target.write(name, encode(name, frames, self.rate, summary))
        if self.options.grid:
            self.kept.append(frames)


def _check(options: Options) -> None:
    if not options.out:
        raise InputError("--out is missing: give an .mp4 or .gif file, or a folder.")
    for name in ("num", "batch"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} {getattr(options, name)}: must be at least 1.")
    if options.fps is not None and not 0 < options.fps <= 240:
        raise InputError(f"--fps {options.fps:g}: must be above 0 and at most 240.")
    if (options.image is None) == (options.pairs is None):
        raise InputError("give --image and --prompt, or --pairs with a CSV file or a folder of both.")
    if options.image and options.prompt is None:
        raise InputError('--prompt is missing: say what should happen, or give "" to leave it to the picture.')
    if options.pairs and options.prompt is not None:
        raise InputError("--prompt: with --pairs each image has its own prompt. Omit it.")
    if options.grid == options.out:
        raise InputError(f"--grid {options.grid}: --out writes this file. Give another one.")
    for name, place in (("out", options.out), ("grid", options.grid)):
        suffix = Path(place).suffix.lower()
        if suffix in _OTHER_FORMATS or (name == "grid" and place and suffix not in _FORMATS):
            raise InputError(f"--{name} {place}: videos are written as .mp4 or .gif.")


def _plan(options: Options) -> tuple[Folder, list[_Video]]:
    """Where to write which videos; reads every image once, so that errors show before sampling."""
    pairs = [Pair(options.image, options.prompt or "")] if options.image else read_pairs(options.pairs or Path())
    first = [(pair, options.seed if pair.seed is None else pair.seed) for pair in pairs]
    for seed in {seed for _, seed in first}:
        if not 0 <= seed <= _SEEDS - options.num:
            raise InputError(f"seed {seed}: must be from 0 to {_SEEDS - options.num}.")
    for image in {pair.image: None for pair in pairs}:
        read_image(image)
    wanted = [(pair, seed + more) for pair, seed in first for more in range(options.num)]
    target, names = Folder(options.out), [f"{number:04}.mp4" for number in range(len(wanted))]
    if Path(options.out).suffix.lower() in _FORMATS:
        if len(wanted) > 1:
            raise InputError(f"--out {options.out}: {len(wanted)} videos will be written; give a folder.")
        target, name = _split(options.out)
        names = [name]
    elif not target.remote and target.path.is_file():
        raise InputError(f"--out {options.out}: this is a file. Give an .mp4 or .gif file, or a folder.")
    return target, [_Video(n, pair.image, pair.prompt, seed) for n, (pair, seed) in zip(names, wanted, strict=True)]


def _split(place: str) -> tuple[Folder, str]:
    """The folder and name of a file; InputError if the path is a folder."""
    folder, slash, name = place.rpartition("/")
    if not Folder(place).remote and Folder(place).path.is_dir():
        raise InputError(f"{place} is a folder: give the name of a file in it.")
    return Folder(folder or slash or "."), name
