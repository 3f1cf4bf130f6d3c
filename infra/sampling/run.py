"""Samples videos with a model and writes them."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import UInt8

from base.device import find_device, set_kernels
from base.errors import InputError
from base.storage.folder import Folder
from infra.options import plural, report
from infra.sampling.options import Options
from infra.sampling.plan import Video, split
from media.grid import tile
from media.picture import read_image
from media.video_file import encode
from models.card import checked_sampling
from models.find import Candidate
from models.folder import revision
from models.generator import Generator, Request
from models.tags import model_tags, request_tags

_WIDEST_GRID = 16_384  # pixels per side: the limit of H.264


class SamplingRun:
    """Samples in batches and writes each batch as soon as it is ready."""

    def __init__(self, options: Options, model: Candidate, target: Folder) -> None:
        self.sampling = checked_sampling(model.facts, options.sampling, model.name)  # before any weights are loaded
        device = find_device(options.device)
        set_kernels(device, options.kernels)
        self.options, self.model, self.target = options, model, target
        weights = model.weights()
        self.generator = Generator.load(weights, device, options.precision, options.compile, options.decoding)
        self.batch = min(options.batch, self.generator.at_once or options.batch)
        self.metadata = model_tags(model.name, revision(model.weights()), self.sampling)
        self.kept: list[UInt8[np.ndarray, "t h w 3"]] = []
        self.rate = 0.0

    def write(self, videos: Sequence[Video]) -> None:
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
            folder, name = split(self.options.grid)
            folder.write(name, encode(name, tile(self.kept, rows), self.rate, self.metadata))

    def _requests(self, videos: Sequence[Video]) -> list[Request]:
        images = {video.image for video in videos}
        pictures = {image: read_image(image, self.generator.size) if image else None for image in images}
        options, level = self.options, self.options.motion_level
        level = self.model.facts.default_motion_level if level is None else level
        return [
            Request(pictures[video.image], video.prompt, video.seed, options.fps, options.negative_prompt, level)
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
