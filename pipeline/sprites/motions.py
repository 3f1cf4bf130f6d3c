"""Motions of a moving-sprites scene, each with its caption: shapes that move, stop, swap or enter, a panning camera."""

import itertools
import math
from dataclasses import replace

import numpy as np

from base.errors import InputError
from pipeline.sprites.world import COLOURS, DIRECTIONS, PAN, SHAPES, SPEEDS, Motion, MotionKind, Scene, Sprite, World

_GAP = 0.01  # short sides that stay free around a shape whose path is clear
_MOST_DRAWS = 1000  # attempts to find a motion whose path is clear

Path = tuple[tuple[float, float], ...]


def draw_motion(world: World, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Motion]:
    """Draw one motion for a scene. For "enters", the returned scene includes the new shape.

    InputError if the world asks for clear paths and the scene is too crowded for one.
    """
    kind = world.kinds[int(rng.integers(len(world.kinds)))]
    drawn = _draw(world, scene, kind, rng)
    for _ in range(_MOST_DRAWS if world.clear else 0):
        if _is_clear(*drawn):
            return drawn
        drawn = _draw(world, scene, kind, rng)
    if world.clear:
        raise InputError(f"clear: a scene of {len(scene.sprites)} shapes has no way free; use fewer or smaller ones.")
    return drawn


def _draw(world: World, scene: Scene, kind: MotionKind, rng: np.random.Generator) -> tuple[Scene, Motion]:
    if kind == "enters":
        return _enter(world, scene, rng)
    if kind == "swaps" and len(scene.sprites) >= 2:
        return scene, _swap(scene, world.frames, rng)
    if kind == "pans":
        return scene, _pan(scene, world.frames, rng)
    if kind == "moves_and_pans":
        return scene, _move_and_pan(scene, world.frames, rng)
    return scene, move(scene, world.frames, rng, stops=kind == "stops")


def _is_clear(scene: Scene, motion: Motion) -> bool:
    """Whether no mover ever touches a shape that rests."""
    resting = [number for number in range(len(scene.sprites)) if number not in motion.movers]
    return all(
        _apart(scene, motion, mover, other) > scene.sprites[mover].reach + scene.sprites[other].reach + _GAP
        for mover, other in itertools.product(motion.movers, resting)
    )


def _apart(scene: Scene, motion: Motion, mover: int, other: int) -> float:
    """The smallest distance between the centres of two sprites, of which the second rests."""
    y, x = scene.sprites[mover].centre
    return min(math.dist((y + dy, x + dx), scene.sprites[other].centre) for dy, dx in motion.offsets[mover])


def straight(direction: str, pace: float, frames: int) -> Path:
    """A path in one of the eight directions, ``pace`` short sides per frame."""
    dy, dx = DIRECTIONS[direction]
    return tuple((dy * pace * t, dx * pace * t) for t in range(frames))


def move(
    scene: Scene, frames: int, rng: np.random.Generator, *, stops: bool = False, speed: float | None = None
) -> Motion:
    """One sprite moves in one of eight directions; with ``stops`` it stops half-way.

    ``speed`` in short sides per frame overrides the drawn one (for benchmarks).
    """
    options = [
        (index, name, word, pace)
        for index, sprite in enumerate(scene.sprites)
        for name in DIRECTIONS
        for word, pace in ([("", speed)] if speed is not None else SPEEDS.items())
        if stays_inside(scene, sprite, name, pace * (frames - 1) * (0.5 if stops else 1))
    ]
    if not options:  # every motion leaves the frame: choose among all
        options = [
            (index, name, "" if speed is not None else "slowly", speed or SPEEDS["slowly"])
            for index in range(len(scene.sprites))
            for name in DIRECTIONS
        ]
    index, name, word, pace = options[int(rng.integers(len(options)))]
    dy, dx = DIRECTIONS[name]
    last = (frames - 1) // 2 if stops else frames - 1
    path = tuple((dy * pace * min(t, last), dx * pace * min(t, last)) for t in range(frames))
    manner = f" {word}" if word else ""
    ending = " and stops" if stops else ""
    caption = f"the {scene.sprites[index].name} moves{manner} {name}{ending}"
    still = ((0.0, 0.0),) * frames
    offsets = tuple(path if i == index else still for i in range(len(scene.sprites)))
    return Motion("stops" if stops else "moves", caption, (index,), name, word, offsets)


def stays_inside(scene: Scene, sprite: Sprite, direction: str, distance: float) -> bool:
    """Whether a sprite is fully inside the frame after moving ``distance`` short sides in a direction."""
    dy, dx = DIRECTIONS[direction]
    return _is_inside(scene, sprite, (dy * distance, dx * distance))


def _is_inside(scene: Scene, sprite: Sprite, way: tuple[float, float]) -> bool:
    return all(
        sprite.reach <= centre + step <= size - sprite.reach
        for centre, step, size in zip(sprite.centre, way, scene.aspect, strict=True)
    )


def _move_and_pan(scene: Scene, frames: int, rng: np.random.Generator) -> Motion:
    """One sprite moves in the world while the camera pans; it stays in the picture if there is such a motion."""
    sprites, ways, last = range(len(scene.sprites)), tuple(DIRECTIONS), frames - 1
    every = list(itertools.product(sprites, ways, SPEEDS.items(), ways))
    options = [
        option
        for option in every
        if _is_inside(scene, scene.sprites[option[0]], _sum(option[1], option[2][1] * last, option[3], -PAN * last))
    ]
    index, name, (word, pace), way = (options or every)[int(rng.integers(len(options or every)))]
    still = ((0.0, 0.0),) * frames
    offsets = tuple(straight(name, pace, frames) if number == index else still for number in sprites)
    manner = f" {word}" if word else ""
    caption = f"the {scene.sprites[index].name} moves{manner} {name} while the camera pans {way}"
    return Motion("moves_and_pans", caption, (index,), name, word, offsets, straight(way, PAN, frames))


def _pan(scene: Scene, frames: int, rng: np.random.Generator) -> Motion:
    """The camera pans, in a direction in which the centres of all sprites stay in the picture, if there is one."""
    ways = [
        name
        for name, (dy, dx) in DIRECTIONS.items()
        if all(
            0 <= sprite.centre[0] - dy * PAN * (frames - 1) <= scene.aspect[0]
            and 0 <= sprite.centre[1] - dx * PAN * (frames - 1) <= scene.aspect[1]
            for sprite in scene.sprites
        )
    ] or list(DIRECTIONS)
    way = ways[int(rng.integers(len(ways)))]
    still = tuple(((0.0, 0.0),) * frames for _ in scene.sprites)
    return Motion("pans", f"the camera pans {way}", (), way, "", still, straight(way, PAN, frames))


def _sum(first: str, distance: float, second: str, other: float) -> tuple[float, float]:
    """Where two motions in two directions lead together (y, x)."""
    (y1, x1), (y2, x2) = DIRECTIONS[first], DIRECTIONS[second]
    return y1 * distance + y2 * other, x1 * distance + x2 * other


def _swap(scene: Scene, frames: int, rng: np.random.Generator) -> Motion:
    first, second = sorted(int(i) for i in rng.permutation(len(scene.sprites))[:2])
    a, b = scene.sprites[first].centre, scene.sprites[second].centre
    way = (b[0] - a[0], b[1] - a[1])
    shares = [t / (frames - 1) for t in range(frames)]
    there = tuple((way[0] * s, way[1] * s) for s in shares)
    back = tuple((-way[0] * s, -way[1] * s) for s in shares)
    still = ((0.0, 0.0),) * frames
    offsets = tuple(there if i == first else back if i == second else still for i in range(len(scene.sprites)))
    names = [scene.sprites[i].name for i in (first, second)]
    return Motion("swaps", f"the {names[0]} and the {names[1]} swap places", (first, second), "", "", offsets)


def _enter(world: World, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Motion]:
    taken = {(sprite.shape, sprite.colour) for sprite in scene.sprites}
    looks = [(shape, colour) for shape in SHAPES for colour in COLOURS if (shape, colour) not in taken]
    shape, colour = looks[int(rng.integers(len(looks)))]
    side = ("left", "right", "top", "bottom")[int(rng.integers(4))]
    reach = SHAPES[shape] * float(rng.uniform(*world.radii))
    height, width = scene.aspect
    along = float(rng.uniform(reach, (height if side in ("left", "right") else width) - reach))
    gap = reach + 0.02  # soft edges start outside the frame, too
    starts = {
        "left": ((along, -gap), (0.0, 1.0)),
        "right": ((along, width + gap), (0.0, -1.0)),
        "top": ((-gap, along), (1.0, 0.0)),
        "bottom": ((height + gap, along), (-1.0, 0.0)),
    }
    centre, (dy, dx) = starts[side]
    pace = SPEEDS[""]
    path = tuple((dy * pace * t, dx * pace * t) for t in range(world.frames))
    still = ((0.0, 0.0),) * world.frames
    sprite = Sprite(shape, colour, centre, reach, int(rng.integers(2**31)))
    article = "an" if colour[0] in "aeiou" else "a"
    motion = Motion(
        "enters",
        f"{article} {sprite.name} enters from the {side}",
        (len(scene.sprites),),
        next(name for name, way in DIRECTIONS.items() if math.isclose(way[0], dy) and math.isclose(way[1], dx)),
        "",
        (*(still for _ in scene.sprites), path),
    )
    return replace(scene, sprites=(*scene.sprites, sprite)), motion
