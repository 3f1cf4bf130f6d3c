"""The held-out clips that models are asked for: a folder of `motif sprites`, with what happens in each clip."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from dataset.identity import digest
from evaluation.sprites.score import judge, sampled, score
from evaluation.sprites.summary import Scored
from evaluation.sprites.tracking import track
from evaluation.sprites.videos import Video
from pipeline.sprites.files import FPS, Clip, read_truth
from pipeline.sprites.render import first_frame
from pipeline.sprites.world import World


@dataclass(frozen=True)
class Pairs:
    """Images with prompts, and what should happen."""

    world: World
    clips: tuple[Clip, ...]

    @classmethod
    def read(cls, folder: Path, num: int | None = None) -> "Pairs":
        """Of a folder written by `motif sprites`: all, or the first ``num``. InputError if it is none."""
        world, clips = read_truth(folder)
        return cls(world, tuple(clips[:num]))

    @property
    def digest(self) -> str:
        """A hash of the world and all clips."""
        return digest(self.world.settings(), [asdict(clip) for clip in self.clips])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.world.height, self.world.width

    @property
    def seconds(self) -> float:
        """Time from the first to the last frame of a clip."""
        return (self.world.frames - 1) / FPS

    @cached_property
    def images(self) -> dict[int, UInt8[np.ndarray, "h w 3"]]:
        """The first frame of each scene, by the scene's number."""
        return {clip.scene_number: first_frame(self.world, clip.scene) for clip in self.clips}

    def score(self, clip: Clip, video: Video) -> Scored:
        """The score of a clip's video, for its own prompt and for the others of its image."""
        tracks = track(video.frames, clip.scene, self.size)
        swapped = [
            judge(tracks, video.fps, other)
            if other.scene == clip.scene
            else score(video.frames, video.fps, other, self.size)
            for other in self.clips
            if other.scene_number == clip.scene_number and not are_compatible(clip, other)
        ]
        return Scored(judge(tracks, video.fps, clip), tuple(one.right for one in swapped))


def are_compatible(one: Clip, other: Clip) -> bool:
    """Whether a video can be right for both clips: the same moves, in the same direction, whatever its speed."""
    same_moves = one.scene == other.scene and one.motion.movers == other.motion.movers
    if not same_moves or bool(one.motion.camera) != bool(other.motion.camera):
        return False
    return all(_same_direction(first, second) for first, second in zip(_ways(one), _ways(other), strict=True))


def _ways(clip: Clip) -> Sequence[np.ndarray]:
    paths = [clip.motion.offsets[number] for number in clip.motion.movers]
    paths += [clip.motion.camera] if clip.motion.camera else []
    return [sampled(path, FPS, len(path))[-1] for path in paths]


def _same_direction(one: np.ndarray, other: np.ndarray) -> bool:
    across = float(one @ other) / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-9)
    return across > math.cos(math.pi / 4) + 1e-9
