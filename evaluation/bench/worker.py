"""Samples videos of the benchmark: one model on one device."""

import collections.abc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import UInt8

from base.device import find_device
from base.errors import InputError
from evaluation.bench.dataset import Pair
from evaluation.bench.recipe import Device, Recipe, image_hash
from media.picture import decode_picture
from media.video_file import encode_video
from models.generator import Generator

Batch = tuple[Pair, ...]
Made = tuple[Batch, list[bytes]]
"""A batch and its videos, encoded."""
MadeVideos = collections.abc.Generator[Made, None, None]


class Workers(Protocol):
    """Where videos are made."""

    device: Device

    def make(self, recipe: Recipe, batches: Sequence[Batch]) -> MadeVideos:
        """Make the videos of all batches, which come in any order."""


class Worker:
    """A model that is loaded once, when it is first needed."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._generator: Generator | None = None

    def make(self, asked: Sequence[tuple[str, bytes]]) -> list[bytes]:
        """The videos of prompts and image files. InputError if the GPU has too little memory."""
        recipe, generator = self._recipe, self._load()
        requests = [recipe.request(prompt, decode_picture(image)) for prompt, image in asked]
        try:
            videos = generator.generate(requests, recipe.sampling, frames=recipe.making.frames)
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"--batch {recipe.batch}: the GPU has too little memory. Reduce it, or set --precision bfloat16."
            ) from error
        return [self._encode(frames, *said) for frames, said in zip(videos, asked, strict=True)]

    def _encode(self, frames: UInt8[np.ndarray, "t h w 3"], prompt: str, image: bytes) -> bytes:
        making, tags = self._recipe.making, self._recipe.tags(prompt, image_hash(image))
        return encode_video(making.finish(frames), making.form.fps, metadata=tags)

    def _load(self) -> Generator:
        if self._generator is None:
            recipe = self._recipe
            if recipe.device == "cpu":
                torch.set_num_threads(1)  # with another number a CPU rounds differently
            self._generator = Generator.load(recipe.model.weights(), find_device(recipe.device), recipe.precision)
            self._generator.facts = recipe.facts
        return self._generator


class ThisProcess:
    """Makes videos one batch after the other, without Ray."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def make(self, recipe: Recipe, batches: Sequence[Batch]) -> MadeVideos:
        """Make the videos of all batches in their order."""
        with _threads_restored():
            worker = Worker(recipe)
            for batch in batches:
                yield batch, worker.make(read_batch(batch))


def read_batch(batch: Batch) -> list[tuple[str, bytes]]:
    """Prompts and image files of a batch."""
    return [(pair.prompt, read_image_file(pair.image)) for pair in batch]


def read_image_file(path: Path) -> bytes:
    """An image file as it is; InputError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"image {path} cannot be read: {error.strerror}.") from error


@contextmanager
def _threads_restored() -> Iterator[None]:
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
