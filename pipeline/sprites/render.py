"""Draw a moving-sprites clip: frames and the exact flow between them."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from pipeline.sprites.world import COLOURS, Motion, Scene, Sprite, World

_SUPERSAMPLING = 4  # masks are drawn this much larger and averaged down: soft edges without aliasing


def render(
    world: World, scene: Scene, motion: Motion
) -> tuple[UInt8[np.ndarray, "t h w 3"], Float32[np.ndarray, "s h w 2"]]:
    """Frames of the clip and its true flow.

    Returns uint8 RGB frames ``[t, h, w, 3]`` and flow ``[t - 1, h, w, 2]`` in pixels per frame, x before y: the
    displacement of the object visible at a pixel from frame l to frame l + 1; that of the background is zero, or the
    opposite of the camera's motion. Beyond the first frame's edges a panning camera sees the background mirrored.
    """
    background = _background(world.height, world.width, scene.background_seed)
    frames = np.empty((world.frames, world.height, world.width, 3), np.uint8)
    flow = np.zeros((world.frames - 1, world.height, world.width, 2), np.float32)
    short = min(world.height, world.width)
    camera = motion.camera or ((0.0, 0.0),) * world.frames
    for t in range(world.frames):
        canvas = _seen_from(background, camera[t], short)
        if t + 1 < world.frames:
            flow[t] = _seen_step(((0.0, 0.0), (0.0, 0.0)), camera[t : t + 2], short)
        for sprite, path in zip(scene.sprites, motion.offsets, strict=True):
            centre = [(c + o - v) * short for c, o, v in zip(sprite.centre, path[t], camera[t], strict=True)]
            visible = _stamp(canvas, sprite, (centre[0], centre[1]), sprite.reach * short)
            if t + 1 < world.frames:
                flow[t][visible] = _seen_step(path[t : t + 2], camera[t : t + 2], short)
        frames[t] = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    return frames, flow


def first_frame(world: World, scene: Scene) -> UInt8[np.ndarray, "h w 3"]:
    """The first frame of every motion of a scene."""
    resting = (((0.0, 0.0),) * 2,) * len(scene.sprites)
    frames, _ = render(replace(world, frames=2), scene, Motion("moves", "", (), "", "", resting))
    return np.asarray(frames[0], np.uint8)


def _seen_from(
    background: Float32[np.ndarray, "h w 3"], camera: tuple[float, float], short: int
) -> Float32[np.ndarray, "h w 3"]:
    """A copy of the background as a camera sees it that has moved."""
    if camera == (0.0, 0.0):
        return background.copy()
    height, width = background.shape[:2]
    shift = np.array([[1, 0, -camera[1] * short], [0, 1, -camera[0] * short]], np.float64)
    return np.asarray(cv2.warpAffine(background, shift, (width, height), borderMode=cv2.BORDER_REFLECT_101), np.float32)


def _seen_step(
    path: Sequence[tuple[float, float]], camera: Sequence[tuple[float, float]], short: int
) -> tuple[float, float]:
    """What moves along a path, as the camera sees its next step: pixels, x before y."""
    (y0, x0), (y1, x1) = path
    (v0, u0), (v1, u1) = camera
    return (x1 - x0 - (u1 - u0)) * short, (y1 - y0 - (v1 - v0)) * short


def lay(
    sprite: Sprite, centre: tuple[float, float], reach: float, size: tuple[int, int]
) -> tuple[Float32[np.ndarray, "h w 3"], Float32[np.ndarray, "h w"]]:
    """A sprite's colours, and how much of each pixel it covers (0 to 1), in a picture of ``size`` (height, width).

    ``centre`` (y, x) and ``reach`` are in pixels, of which the centre may be a fraction.
    """
    colour, alpha = _look(sprite, reach)
    height, width = size
    half = (colour.shape[0] - 1) / 2
    shift = np.array([[1, 0, centre[1] - half], [0, 1, centre[0] - half]], np.float64)
    paint = cv2.warpAffine(colour, shift, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.warpAffine(alpha, shift, (width, height), flags=cv2.INTER_LINEAR)
    return np.asarray(paint, np.float32), np.asarray(cover, np.float32)


def _stamp(
    canvas: Float32[np.ndarray, "h w 3"], sprite: Sprite, centre: tuple[float, float], reach: float
) -> Bool[np.ndarray, "h w"]:
    """Paint a sprite at a sub-pixel position; returns the pixels that it covers by more than half."""
    paint, cover = lay(sprite, centre, reach, (canvas.shape[0], canvas.shape[1]))
    canvas += cover[..., None] * (paint - canvas)
    return np.asarray(cover > 0.5)


@lru_cache(maxsize=64)
def _look(sprite: Sprite, reach: float) -> tuple[Float32[np.ndarray, "s s 3"], Float32[np.ndarray, "s s"]]:
    """A sprite's colours and coverage on a square around its centre."""
    side = 2 * math.ceil(reach + 2) + 1
    texture = _texture(side, side, np.random.default_rng(sprite.texture_seed), finest=reach / 6)
    # Strong texture, since flow cannot be estimated inside plain shapes. Mixed with white and black to keep the hue.
    base = np.array(COLOURS[sprite.colour], np.float32)
    light, dark = base + 0.55 * (255 - base), base * 0.35
    level = texture[..., None]
    colour = np.where(level > 0, base + level * (light - base), base + level * (base - dark)).astype(np.float32)
    fine = side * _SUPERSAMPLING
    mask = np.zeros((fine, fine), np.uint8)
    _draw_shape(mask, sprite.shape, (fine - 1) / 2, reach * _SUPERSAMPLING)
    alpha = cv2.resize(mask.astype(np.float32) / 255, (side, side), interpolation=cv2.INTER_AREA)
    return colour, alpha


def _draw_shape(mask: UInt8[np.ndarray, "s s"], shape: str, centre: float, reach: float) -> None:
    if shape == "circle":
        cv2.circle(mask, (round(centre), round(centre)), round(reach), 255, -1)
        return
    corners = {"square": (4, 0.25), "triangle": (3, -0.5), "diamond": (4, 0.0), "star": (10, -0.5)}
    count, turn = corners[shape]
    reaches = [reach * (0.5 if shape == "star" and i % 2 else 1.0) for i in range(count)]
    angles = [math.pi * turn + 2 * math.pi * i / count for i in range(count)]
    points = [(centre + r * math.cos(a), centre + r * math.sin(a)) for r, a in zip(reaches, angles, strict=True)]
    cv2.fillPoly(mask, [np.round(np.array(points)).astype(np.int32)], 255)


@lru_cache(maxsize=8)
def _background(height: int, width: int, seed: int) -> Float32[np.ndarray, "h w 3"]:
    rng = np.random.default_rng(seed)
    tint = rng.uniform(70, 150, 3)
    shade = _texture(height, width, rng, finest=min(height, width) / 64)
    return np.asarray(tint + 32 * shade[..., None], np.float32)


def _texture(height: int, width: int, rng: np.random.Generator, *, finest: float) -> Float32[np.ndarray, "h w"]:
    """Smooth noise of several scales, -1 to 1, its finest detail ``finest`` pixels wide."""
    total = np.zeros((height, width), np.float32)
    for octave, weight in enumerate((1.0, 0.8, 0.6)):
        cell = max(2.0, finest * 2**octave)
        grid = rng.standard_normal((math.ceil(height / cell) + 2, math.ceil(width / cell) + 2)).astype(np.float32)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(total / 1.8, -1, 1), np.float32)
