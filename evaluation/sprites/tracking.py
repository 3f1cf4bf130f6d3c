"""Finds every shape of a scene in every frame of a video, and how the camera moves. By colours alone: no optical flow,
for which a small model's videos have too little texture.
"""

import itertools
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

from base.errors import InputError
from evaluation.sprites.matching import (
    MARGIN,
    SHORT,
    Look,
    fit_background,
    fit_shape,
    relative_cost,
    shrink,
    start_of,
)
from evaluation.sprites.paths import cheapest_path, refine
from pipeline.sprites.render import first_frame
from pipeline.sprites.world import Scene, Sprite, World

_PAN = 26  # pixels of the shrunk frame, 0.4 short sides: the furthest that the background is searched
_CHANGED = 24 / 255  # of the range of a colour: smaller changes of the background are noise of codecs and models
_UNLIKE = 60 / 255  # of the range of a colour: further from its mean, nothing is background
_UNSEEN = 0.5
_ENTERED, _FITS = 0.25, 0.4  # share of a shape that must be seen, and how well, for it to have entered
_TOGETHER = 0.6  # reaches: two shapes that end closer than this are one, and the one that fits worse is lost


@dataclass(frozen=True)
class Tracks:
    """What is seen in a video, for the shapes of its scene in order. Lengths in short sides, (y, x).

    ``starts`` are the centres of shapes in the first frame; of one that enters, anywhere, where it is first seen by a
    quarter. ``moves`` are displacements from there, relative to the background; ``camera`` is the background's in the
    picture. ``misfit`` is how much a shape differs from its look where it is found: 0 not at all, 1 as much as a place
    without it. ``changed`` is the share of the background's pixels that differ from the first frame.
    """

    starts: Float[np.ndarray, "k 2"]
    moves: Float[np.ndarray, "k t 2"]
    misfit: Float[np.ndarray, "k t"]
    camera: Float[np.ndarray, "t 2"]
    changed: Float[np.ndarray, " t"]


@dataclass(frozen=True)
class _Found:
    """A shape's places in positions with the margin, finer ones, and misfits, by frame; and where its motion begins."""

    look: Look
    places: Int[np.ndarray, "t 2"]
    fine: Float[np.ndarray, "t 2"]
    misfit: Float[np.ndarray, " t"]
    begins: int = 0

    @property
    def start(self) -> Float[np.ndarray, " 2"]:
        """Where its motion begins, in short sides."""
        return np.asarray((self.fine[self.begins] - MARGIN + 0.5) / SHORT)

    @property
    def moves(self) -> Float[np.ndarray, "t 2"]:
        """Displacements from there, in short sides; 0 before."""
        found = (self.fine - self.fine[self.begins]) / SHORT
        found[: self.begins] = 0
        return np.asarray(found)


def track(frames: UInt8[np.ndarray, "t h w 3"], scene: Scene, size: tuple[int, int] | None = None) -> Tracks:
    """Track the shapes of a scene through a video of it.

    ``size`` (height, width) is that of the image which the video began with; by default the video's. InputError if the
    video has another aspect than the scene.
    """
    height, width = frames.shape[1:3]
    _check_aspect(scene, height, width)
    subject = _Subject.of(frames, scene, size or (height, width))
    seen = np.ones(subject.video.shape[:3], bool)
    entering = [number for number, sprite in enumerate(scene.sprites) if not _is_in_frame(sprite, scene)]
    found = {number: subject.follow(number, seen) for number in range(len(scene.sprites)) if number not in entering}
    for one in found.values():
        seen &= ~_footprints(one, seen.shape)
    for number in entering:  # where another shape is, it is not
        found[number] = subject.follow(number, seen, enters=True)
        seen = seen & ~_footprints(found[number], seen.shape)
    camera, changed = _follow_background(subject.video, seen)
    kept = _without_doubles(found, scene)
    order = [kept[number] for number in range(len(scene.sprites))]
    starts, moves = np.array([one.start for one in order]), np.array([one.moves - camera for one in order])
    return Tracks(starts, moves, np.array([one.misfit for one in order]), camera, changed)


def _check_aspect(scene: Scene, height: int, width: int) -> None:
    ours, theirs = scene.aspect[1] / scene.aspect[0], width / height
    if abs(ours - theirs) > 0.02 * ours:
        raise InputError(
            f"video of {height} x {width}: its scene is {scene.aspect[0]:g} high and {scene.aspect[1]:g} wide. "
            "Evaluate with sprites of the video's aspect (`motif sprites --height --width`)."
        )


def _is_in_frame(sprite: Sprite, scene: Scene) -> bool:
    return all(0 <= centre < size for centre, size in zip(sprite.centre, scene.aspect, strict=True))


@dataclass(frozen=True)
class _Subject:
    """A shrunk video and the image that it began with, of a scene painted at ``size``."""

    video: Float32[np.ndarray, "t h w 3"]
    image: Float32[np.ndarray, "h w 3"]
    scene: Scene
    size: tuple[int, int]

    @classmethod
    def of(cls, frames: UInt8[np.ndarray, "t h w 3"], scene: Scene, size: tuple[int, int]) -> "_Subject":
        image = shrink(first_frame(World(*size), scene)[None])[0]
        return cls(shrink(frames), image, scene, size)

    def follow(self, number: int, seen: Bool[np.ndarray, "t h w"], *, enters: bool = False) -> _Found:
        """The path of a shape: from its place in the image, or if it ``enters`` from anywhere outside."""
        sprite = self.scene.sprites[number]
        look = Look.of(sprite, self.size)
        still, share = fit_shape(self.image, np.ones(self.image.shape[:2], bool), look)
        contrast = max(float(np.median(still[share > 0.9])), 1e-4)
        fits = (fit_shape(frame, mask, look) for frame, mask in zip(self.video, seen, strict=True))
        # Of a shape that is not there to begin with, less is lost if it is not seen than if it does not fit.
        costs = np.stack([relative_cost(fit, contrast, _UNSEEN if enters else 1.0) for fit in fits])
        if enters:
            first = np.where(share < 0.1, 0, np.inf).astype(np.float32)
        else:
            first = np.full(share.shape, np.inf, np.float32)
            first[start_of(sprite)] = 0
        places = cheapest_path(costs, first, SHORT)
        fine = np.array([refine(cost, (int(y), int(x))) for cost, (y, x) in zip(costs, places, strict=True)])
        fine[0] = places[0]
        misfit = np.array([cost[y, x] for cost, (y, x) in zip(costs, places, strict=True)], float)
        begins = _first_seen(misfit, np.array([share[y, x] for y, x in places])) if enters else 0
        return _Found(look, places, fine, misfit, begins)


def _first_seen(misfit: Float[np.ndarray, " t"], share: Float[np.ndarray, " t"]) -> int:
    """The first frame in which a shape that enters is seen; the last frame if it is not there in the end."""
    fit = (misfit - (1 - share) * _UNSEEN) / np.maximum(share, 1e-6)
    there = (share >= _ENTERED) & (fit < _FITS)
    return int(np.argmax(there)) if there[-1] else len(there) - 1


def _footprints(one: _Found, shape: tuple[int, ...]) -> Bool[np.ndarray, "t h w"]:
    """The pixels that a shape covers in each frame, and a rim around it."""
    half = one.look.weight.shape[0] // 2
    mask = cv2.dilate((one.look.weight > 0).astype(np.uint8), np.ones((5, 5), np.uint8))
    out = np.zeros(shape, bool)
    pad = MARGIN + half
    wide = np.zeros((shape[1] + 2 * pad, shape[2] + 2 * pad), bool)
    for number, (y, x) in enumerate(one.places):
        wide[:] = False
        wide[y : y + 2 * half + 1, x : x + 2 * half + 1] = mask > 0
        out[number] = wide[pad:-pad, pad:-pad]
    return out


def _follow_background(
    video: Float32[np.ndarray, "t h w 3"], seen: Bool[np.ndarray, "t h w"]
) -> tuple[Float[np.ndarray, "t 2"], Float[np.ndarray, " t"]]:
    """The background's displacement, in short sides, and the share of it that changed, by frame."""
    mean = video[0][seen[0]].mean(0) if seen[0].any() else np.zeros(3, np.float32)
    like = seen & (np.abs(video - mean).max(-1) < _UNLIKE)
    fits = [fit_background(video[0], like[0], frame, mask, _PAN) for frame, mask in zip(video, like, strict=True)]
    contrast = max(float(np.median(fits[0][0])), 1e-4)
    costs = np.stack([relative_cost(fit, contrast, 1.0) for fit in fits])
    first = np.full(costs.shape[1:], np.inf, np.float32)
    first[_PAN, _PAN] = 0
    places = cheapest_path(costs, first, SHORT)
    fine = np.array([refine(cost, (int(y), int(x))) for cost, (y, x) in zip(costs, places, strict=True)]) - _PAN
    fine[0] = 0
    changed = []
    for frame, mask, (y, x) in zip(video, seen, places - _PAN, strict=True):
        shift = np.array([[1, 0, x], [0, 1, y]], np.float64)
        size = (frame.shape[1], frame.shape[0])
        before = cv2.warpAffine(video[0], shift, size, flags=cv2.INTER_NEAREST)
        valid = cv2.warpAffine(seen[0].astype(np.uint8), shift, size, flags=cv2.INTER_NEAREST).astype(bool) & mask
        differs = np.abs(frame - before).mean(-1) > _CHANGED
        changed.append(float(differs[valid].mean()) if valid.any() else 0.0)
    return fine / SHORT, np.array(changed)


def _without_doubles(found: dict[int, _Found], scene: Scene) -> dict[int, _Found]:
    """Of two shapes that end in the same place, the one that fits worse is lost: its misfit is 1."""
    out = dict(found)
    for one, other in itertools.combinations(found, 2):
        apart = float(np.linalg.norm(found[one].fine[-1] - found[other].fine[-1])) / SHORT
        if apart < _TOGETHER * min(scene.sprites[one].reach, scene.sprites[other].reach):
            worse = max((one, other), key=lambda number: float(found[number].misfit[-1]))
            kept = out[worse]
            out[worse] = replace(kept, misfit=np.ones_like(kept.misfit))
    return out
