"""Scores a video of a sprites scene against what should happen in it."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from evaluation.sprites.tracking import Tracks, track
from pipeline.sprites.files import FPS, Clip
from pipeline.sprites.world import DIRECTIONS

STILL = 0.03
"""Short sides: what moved less has not moved. The slowest of all motions ends at twice as much."""
_LOST = 0.6  # misfit from which a shape is not there
_CHANGED = 0.02  # share of the background that may change
_EDGE = 0.6  # reaches from the frame's edge at which a shape is too little in view to be judged


@dataclass(frozen=True)
class VideoScore:
    """The score of a video.

    What should move is one shape, two that swap, one that enters, the camera, or a shape and the camera. "Moved" is a
    mean displacement over the last third of the frames of at least ``STILL``; shapes are measured relative to the
    background.
    """

    clip: int
    scene: int
    kind: str
    object_right: bool
    """All that should move did, and nothing moved more."""
    direction_right: bool
    """All that should move did, within 22.5 degrees of its true direction: the nearest of eight. Chance is 12.5 %."""
    error: float
    """Displacement error: distance from where it should be, short sides, mean over the last third and what should move.
    Of a shape that enters, along its direction alone, since the prompt leaves the rest open."""
    leak: bool
    """Something else moved or is gone, or over 2 % of the background's pixels changed."""
    background: float
    """Share of the background's pixels that changed by the last third, the camera's motion subtracted."""
    kept: float
    """Appearance: 1 if what should move looks as it did, 0 if as different as a place without it."""
    static: bool
    """Nothing moved at all."""
    moved: str
    """The name of the shape that moved most, or "camera", or nothing."""

    @property
    def right(self) -> bool:
        """The right object, in the right direction."""
        return self.object_right and self.direction_right


@dataclass(frozen=True)
class _Part:
    """Something that should move: its true and its found displacement, and whether it was found."""

    true: Float[np.ndarray, "t 2"]
    found: Float[np.ndarray, "t 2"]
    there: bool
    late: Float[np.ndarray, " 2"] | None = None
    """Of a shape that enters: where it was first found, minus where its true motion begins."""

    @property
    def distance(self) -> float:
        """How far it went; 0 if it is lost."""
        return _length(self.found) if self.there else 0.0

    @property
    def direction_right(self) -> bool:
        """Whether it moved within 22.5 degrees of its true direction."""
        true, found = _end(self.true), _end(self.found)
        across = float(true @ found) / max(_length(self.true) * _length(self.found), 1e-9)
        return self.distance >= STILL and across >= math.cos(math.pi / 8)

    @property
    def error(self) -> float:
        """Distance from where it should be; of a lost one, from where it was."""
        found = self.found if self.there else np.zeros_like(self.found)
        apart = _last_third(found - self.true)
        if self.late is not None:
            way = _end(self.true) / max(_length(self.true), 1e-9)
            late = self.late if self.distance >= STILL else np.zeros(2)
            return float(np.abs((apart + late) @ way).mean())
        return float(np.linalg.norm(apart, axis=-1).mean())


def score(
    frames: UInt8[np.ndarray, "t h w 3"], fps: float, clip: Clip, size: tuple[int, int] | None = None
) -> VideoScore:
    """The score of a video of ``fps`` frames per second, made from a clip's first frame and caption.

    ``size`` (height, width) is that of the first frame; by default the video's. InputError if their aspects differ.
    """
    return judge(track(frames, clip.scene, size), fps, clip)


def judge(tracks: Tracks, fps: float, clip: Clip) -> VideoScore:
    """The score of a video in which these tracks of the clip's scene were found."""
    parts = _parts(tracks, fps, clip)
    motion = clip.motion
    others = [number for number in _in_view(clip) if number not in motion.movers]
    gone = [number for number in others if _is_lost(tracks, number)]
    strays = [_length(tracks.moves[number]) for number in others if number not in gone]
    if not motion.camera:
        strays.append(_length(tracks.camera))
    least = min((part.distance for part in parts), default=0.0)
    changed = float(_last_third(tracks.changed).mean())
    return VideoScore(
        clip=clip.number,
        scene=clip.scene_number,
        kind=motion.kind,
        object_right=least >= STILL and all(stray < least for stray in strays),
        direction_right=all(part.direction_right for part in parts),
        error=float(np.mean([part.error for part in parts])),
        leak=bool(gone) or any(stray >= STILL for stray in strays) or changed > _CHANGED,
        background=changed,
        kept=0.0 if motion.kind == "enters" and least < STILL else _kept(tracks, motion.movers or tuple(others)),
        static=not gone and max([*strays, *(part.distance for part in parts)], default=0.0) < STILL,
        moved=moved_most(tracks, clip),
    )


def moved_most(tracks: Tracks, clip: Clip) -> str:
    """The name of the shape that moved most, "camera" if only that moved, or nothing."""
    found = {number: _length(tracks.moves[number]) for number in _in_view(clip) if not _is_lost(tracks, number)}
    best = max(found, key=lambda number: found[number], default=None)
    if best is not None and found[best] >= STILL:
        return clip.scene.sprites[best].name
    return "camera" if _length(tracks.camera) >= STILL else ""


def direction(tracks: Tracks, number: int) -> str:
    """The nearest of the eight directions in which a shape moved; empty if it did not, or is lost."""
    if _is_lost(tracks, number) or _length(tracks.moves[number]) < STILL:
        return ""
    way = _end(tracks.moves[number])
    return max(DIRECTIONS, key=lambda name: float(np.dot(way, DIRECTIONS[name])))


def _parts(tracks: Tracks, fps: float, clip: Clip) -> list[_Part]:
    """What should move."""
    motion, count = clip.motion, len(tracks.camera)
    parts = []
    for number in motion.movers:
        true = sampled(motion.offsets[number], fps, count)
        late = tracks.starts[number] - clip.scene.sprites[number].centre if motion.kind == "enters" else None
        parts.append(_Part(true, tracks.moves[number], not _is_lost(tracks, number), late))
    if motion.camera:
        parts.append(_Part(-sampled(motion.camera, fps, count), tracks.camera, there=True))
    return parts


def sampled(path: tuple[tuple[float, float], ...], fps: float, count: int) -> Float[np.ndarray, "t 2"]:
    """A path at the times of a video's frames; held at its end."""
    times, every = np.arange(count) * FPS / fps, np.arange(len(path))
    values = np.array(path)
    return np.stack([np.interp(times, every, values[:, axis]) for axis in range(2)], axis=-1)


def _in_view(clip: Clip) -> list[int]:
    """The shapes that can be judged: not cut by an edge at the end, nor under what moves, if all goes as it should."""
    scene, motion = clip.scene, clip.motion
    camera = motion.camera[-1] if motion.camera else (0.0, 0.0)
    ends = [
        tuple(c + o - v for c, o, v in zip(sprite.centre, path[-1], camera, strict=True))
        for sprite, path in zip(scene.sprites, motion.offsets, strict=True)
    ]
    found = []
    for number, (sprite, end) in enumerate(zip(scene.sprites, ends, strict=True)):
        inside = all(
            _EDGE * sprite.reach <= e <= size - _EDGE * sprite.reach for e, size in zip(end, scene.aspect, strict=True)
        )
        covered = any(
            math.dist(end, ends[other]) < sprite.reach + scene.sprites[other].reach
            for other in motion.movers
            if other != number
        )
        if number in motion.movers or (inside and not covered):
            found.append(number)
    return found


def _is_lost(tracks: Tracks, number: int) -> bool:
    return bool(_last_third(tracks.misfit[number]).mean() > _LOST)


def _kept(tracks: Tracks, numbers: tuple[int, ...]) -> float:
    """How much shapes look as they should, 1 to 0; 1 if there are none."""
    misfits = [float(_last_third(tracks.misfit[number]).mean()) for number in numbers]
    return 1 - float(np.mean(misfits)) if misfits else 1.0


def _last_third(values: np.ndarray) -> np.ndarray:
    return values[-max(1, len(values) // 3) :]


def _end(path: Float[np.ndarray, "t 2"]) -> Float[np.ndarray, " 2"]:
    """The mean displacement over the last third of the frames."""
    return np.asarray(_last_third(path).mean(0))


def _length(path: Float[np.ndarray, "t 2"]) -> float:
    return float(np.linalg.norm(_end(path)))
