"""Videos whose score is known: ground truth, a still first frame, and the right shapes in a random direction."""

import math
from dataclasses import replace

import numpy as np

from evaluation.sprites.videos import Video
from pipeline.sprites.files import FPS, Clip
from pipeline.sprites.motions import Path
from pipeline.sprites.render import render
from pipeline.sprites.world import Motion, World

GROUND_TRUTH, STATIC, RANDOM = "ground truth", "static", "random direction"
CONTROLS = (GROUND_TRUTH, STATIC, RANDOM)


def control(name: str, world: World, clip: Clip, frames: int, fps: float, seed: int) -> Video:
    """A control's video of a clip, with ``frames`` frames at ``fps``, before it is encoded.

    The direction of the random one depends on the seed and the clip's number alone.
    """
    if name == RANDOM:
        turn = int(np.random.default_rng([seed, clip.number]).integers(8))
        clip = replace(clip, motion=turned(clip, turn))
    pictures, _ = render(world, clip.scene, clip.motion)
    if name == STATIC:
        return Video(np.repeat(pictures[:1], frames, axis=0), fps)
    return Video(np.ascontiguousarray(pictures[_times(len(pictures), frames, fps)]), fps)


def turned(clip: Clip, eighths: int) -> Motion:
    """The clip's motion with all directions turned by eighths of a circle."""
    motion, angle = clip.motion, eighths * math.pi / 4

    def turn(path: Path) -> Path:
        cosine, sine = math.cos(angle), math.sin(angle)
        return tuple((y * cosine - x * sine, y * sine + x * cosine) for y, x in path)

    return replace(motion, offsets=tuple(map(turn, motion.offsets)), camera=turn(motion.camera))


def _times(there: int, frames: int, fps: float) -> list[int]:
    """The rendered frame nearest to each frame's time."""
    return [min(there - 1, round(number * FPS / fps)) for number in range(frames)]
