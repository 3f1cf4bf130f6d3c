"""The form of the benchmark's videos, and how a model of another size or rate is brought to it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from base.errors import InputError
from media.picture import fit
from models.card import ModelFacts

_ROUNDING = 1e-6  # of a frame


@dataclass(frozen=True)
class Form:
    """Size, length and rate of the videos; by default as published."""

    size: int = 320
    """Height and width of the videos, in pixels."""
    frames: int = 16
    """Frames per video."""
    fps: float = 8.0
    """Frames per second."""

    def __post_init__(self) -> None:
        """Check the values."""
        if not 16 <= self.size <= 4096 or self.size % 2:
            raise ValueError(f"size {self.size}: must be even and from 16 to 4096")
        if self.frames < 2:
            raise ValueError(f"frames {self.frames}: must be at least 2")
        if not 0 < self.fps <= 240:
            raise ValueError(f"fps {self.fps:g}: must be above 0 and at most 240")

    def __str__(self) -> str:
        """In words."""
        return describe(self.frames, self.size, self.size, self.fps)


def describe(frames: int, height: int, width: int, fps: float) -> str:
    """Length, size and rate of a video in words."""
    return f"{frames} frames of {height} x {width} at {fps:g} per second"


@dataclass(frozen=True)
class Making:
    """How a model makes a video of a form: what it is asked for, and which of its frames are taken.

    ``cells`` is the height and width of the square grid of latents; ``taken`` has, for each frame of the video, the
    number of the model's frame.
    """

    form: Form
    cells: int
    fps: float
    frames: int
    taken: tuple[int, ...]

    def finish(self, frames: UInt8[np.ndarray, "t h w 3"]) -> UInt8[np.ndarray, "s size size 3"]:
        """The model's frames in the form."""
        size = self.form.size
        if frames.shape[1:3] != (size, size):
            frames = np.stack([fit(frame, size, size) for frame in frames])
        return frames[list(self.taken)]


def plan_making(facts: ModelFacts, form: Form, model: str) -> Making:
    """How a model makes videos of a form. InputError, which names the model, if its clips are too short.

    It is conditioned on the form's rate, or on the nearest of its range: then frames are repeated or skipped, so that
    motion keeps its speed. A model for wide clips is asked for square ones of their height.
    """
    fps = float(min(max(form.fps, facts.fps[0]), facts.fps[1]))
    taken = tuple(int(number * fps / form.fps + _ROUNDING) for number in range(form.frames))
    frames = facts.video_frames
    if taken[-1] >= frames:
        most = sum(number < frames for number in taken)
        faster = f", or --fps {facts.fps[0]:g} or more" if form.frames <= frames else ""
        raise InputError(
            f"{model} makes {frames} frames at {fps:g} per second, less time than {form.frames} frames at "
            f"{form.fps:g} per second take. Set --frames {most} or fewer{faster}."
        )
    return Making(form, min(facts.height, facts.width), fps, taken[-1] + 1, taken)
