"""What is observed of a video, and of its first frame repeated: frames, features, flow.

An observer is a function from a video to two dictionaries with the same names: of the video, and of the static
baseline. Of the latter nothing is computed but the flow of one pair, since all of its frames are the video's first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped, UInt8

from evaluation.metrics.formulas.motion import frame_step
from evaluation.metrics.networks.aesthetic import Aesthetic
from evaluation.metrics.networks.clip import Clip
from evaluation.metrics.networks.dino import Dino
from evaluation.metrics.networks.flow import FlowLengths


@dataclass(frozen=True)
class Decoded:
    """A video with its prompt, and with its condition image in the video's size, if it has one."""

    frames: UInt8[np.ndarray, "t h w 3"]
    fps: float
    prompt: str
    image: UInt8[np.ndarray, "h w 3"] | None = None


Observations = Mapping[str, np.ndarray]
Observer = Callable[[Decoded], tuple[Observations, Observations]]


def repeat_first(rows: Shaped[np.ndarray, "t ..."]) -> Shaped[np.ndarray, "t ..."]:
    """The first row as often as there are rows."""
    return np.broadcast_to(rows[:1], rows.shape)


def observe_frames(video: Decoded) -> tuple[Observations, Observations]:
    """``frames``: the frames themselves."""
    return {"frames": video.frames}, {"frames": repeat_first(video.frames)}


@dataclass(frozen=True)
class FlowObserver:
    """The lengths of the flow between all neighbouring frames, and between those at about eight per second.

    Their names are ``name`` and ``name_8fps``; the first is left out unless ``every_frame``.
    """

    name: str
    lengths: FlowLengths
    every_frame: bool

    def __call__(self, video: Decoded) -> tuple[Observations, Observations]:
        """Of the video, and of its static baseline."""
        step = frame_step(video.fps)
        found: dict[str, np.ndarray] = {}
        static: dict[str, np.ndarray] = {}
        if self.every_frame:
            found[self.name], static[self.name] = self._of(video.frames)
        if self.every_frame and step == 1:
            slow = found[self.name], static[self.name]
        else:
            slow = self._of(video.frames[::step])
        found[f"{self.name}_8fps"], static[f"{self.name}_8fps"] = slow
        return found, static

    def _of(
        self, frames: UInt8[np.ndarray, "t h w 3"]
    ) -> tuple[Shaped[np.ndarray, "s h w"], Shaped[np.ndarray, "s h w"]]:
        """The flow of the frames, and, as often, the flow from the first frame to itself."""
        lengths = self.lengths(np.concatenate([frames[:1], frames]))
        return lengths[1:], np.broadcast_to(lengths[:1], lengths[1:].shape)


@dataclass(frozen=True)
class ClipObserver:
    """``clip``, ``clip_text`` and ``clip_image``: CLIP's features of frames, prompt and condition image.

    ``clip_aliased`` are those of the frames resized as VBench does.
    """

    clip: Clip

    def __call__(self, video: Decoded) -> tuple[Observations, Observations]:
        """Of the video, and of its static baseline."""
        both = {"clip_text": self.clip.prompt(video.prompt)}
        if video.image is not None:
            both["clip_image"] = self.clip.frames(video.image[None])[0]
        found = {"clip": self.clip.frames(video.frames), "clip_aliased": self.clip.aliased(video.frames)}
        return found | both, {name: repeat_first(rows) for name, rows in found.items()} | both


@dataclass(frozen=True)
class DinoObserver:
    """``dino_cropped``, ``dino_whole`` and ``dino_image``: DINO's features of frames and condition image."""

    dino: Dino

    def __call__(self, video: Decoded) -> tuple[Observations, Observations]:
        """Of the video, and of its static baseline."""
        found = {"dino_cropped": self.dino.cropped(video.frames), "dino_whole": self.dino.whole(video.frames)}
        image = {} if video.image is None else {"dino_image": self.dino.cropped(video.image[None])[0]}
        return found | image, {name: repeat_first(rows) for name, rows in found.items()} | image


@dataclass(frozen=True)
class RatingObserver:
    """``ratings``: of each frame, by the aesthetic predictor."""

    aesthetic: Aesthetic
    clip: Clip

    def __call__(self, video: Decoded) -> tuple[Observations, Observations]:
        """Of the video, and of its static baseline."""
        ratings = self.aesthetic.rate(self.clip.aliased(video.frames))
        return {"ratings": ratings}, {"ratings": repeat_first(ratings)}
