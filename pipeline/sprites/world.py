"""The content of a moving-sprites clip: shapes in a scene, one motion, and its caption.

A scene fixes the first frame; motions are drawn separately, so several captions share one image. Lengths are in units
of the frame's short side, so a scene looks the same at any size.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

# Shape -> distance of its corners from the centre, in radii of the circle of equal area.
SHAPES = {
    "circle": 1.0,
    "square": math.sqrt(math.pi / 2),
    "diamond": math.sqrt(math.pi / 2),
    "triangle": math.sqrt(math.pi / (0.75 * math.sqrt(3))),
    "star": math.sqrt(math.pi / (5 * 0.5 * math.sin(math.pi / 5))),
}
# Radius of the circle of equal area: the shapes cover 2.5 to 3.5 % of a square frame (in the paper's example 3 % move).
RADII = (0.089, 0.105)
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 48, 49),
    "green": (46, 160, 67),
    "blue": (52, 108, 225),
    "yellow": (240, 200, 30),
    "purple": (142, 68, 190),
    "orange": (240, 130, 30),
    "cyan": (40, 190, 200),
    "white": (235, 235, 235),
}
DIRECTIONS: dict[str, tuple[float, float]] = {
    name: (dy / math.hypot(dy, dx), dx / math.hypot(dy, dx))
    for name, dy, dx in (
        ("right", 0, 1),
        ("down and right", 1, 1),
        ("down", 1, 0),
        ("down and left", 1, -1),
        ("left", 0, -1),
        ("up and left", -1, -1),
        ("up", -1, 0),
        ("up and right", -1, 1),
    )
}
# Short sides per frame. At 256 pixels: 2, 5 and 9 pixels.
SPEEDS = {"slowly": 2 / 256, "": 5 / 256, "quickly": 9 / 256}
MotionKind = Literal["moves", "stops", "swaps", "enters"]
KINDS: tuple[MotionKind, ...] = ("moves", "moves", "moves", "moves", "stops", "swaps", "enters")


@dataclass(frozen=True)
class Sprite:
    """A textured shape: its centre in the first frame (y, x) and the radius of its outline, in short sides."""

    shape: str
    colour: str
    centre: tuple[float, float]
    reach: float
    texture_seed: int

    @property
    def name(self) -> str:
        """Its name in captions."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """A stage of ``aspect`` = (height, width) in short sides, with its sprites and a background texture."""

    aspect: tuple[float, float]
    sprites: tuple[Sprite, ...]
    background_seed: int


@dataclass(frozen=True)
class Motion:
    """A motion: ``offsets[i][t]`` is the position of sprite i at frame t relative to its first centre (y, x)."""

    kind: MotionKind
    caption: str
    movers: tuple[int, ...]
    direction: str
    speed: str
    offsets: tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True)
class World:
    """The generator's settings: frame size in pixels, number of frames and shapes, and kinds of motion.

    A kind that occurs several times in ``kinds`` is drawn more often.
    """

    height: int = 256
    width: int = 256
    frames: int = 17
    fewest: int = 2
    most: int = 4
    kinds: tuple[MotionKind, ...] = KINDS

    def __post_init__(self) -> None:
        """Check the settings: sizes must be encodable, and shapes must fit."""
        if min(self.height, self.width) < 64 or self.height % 2 or self.width % 2:
            raise ValueError(f"size {self.height} x {self.width}: sides must be even and at least 64 pixels")
        if self.frames < 2:
            raise ValueError(f"frames {self.frames}: must be at least 2")
        if not 1 <= self.fewest <= self.most <= 6:
            raise ValueError(f"shapes {self.fewest} to {self.most}: must be between 1 and 6")
        if not self.kinds:
            raise ValueError(f"kinds: none is given; give some of {', '.join(dict.fromkeys(KINDS))}")


def draw_scene(world: World, rng: np.random.Generator) -> Scene:
    """Draw a scene whose sprites do not overlap and are fully inside."""
    short = min(world.height, world.width)
    aspect = (world.height / short, world.width / short)
    looks = [(shape, colour) for shape in SHAPES for colour in COLOURS]
    chosen = rng.permutation(len(looks))[: int(rng.integers(world.fewest, world.most + 1))]
    sprites: list[Sprite] = []
    while len(sprites) < len(chosen):
        shape, colour = looks[chosen[len(sprites)]]
        reach = SHAPES[shape] * float(rng.uniform(*RADII))
        place = _free_place(aspect, sprites, reach, rng)
        if place is None:  # no room left: start over
            sprites.clear()
            continue
        sprites.append(Sprite(shape, colour, place, reach, int(rng.integers(2**31))))
    return Scene(aspect, tuple(sprites), int(rng.integers(2**31)))


def _free_place(
    aspect: tuple[float, float], others: list[Sprite], reach: float, rng: np.random.Generator
) -> tuple[float, float] | None:
    for _ in range(200):
        y = float(rng.uniform(reach + 0.02, aspect[0] - reach - 0.02))
        x = float(rng.uniform(reach + 0.02, aspect[1] - reach - 0.02))
        if all(math.dist((y, x), other.centre) > reach + other.reach + 0.02 for other in others):
            return y, x
    return None


def draw_motion(world: World, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Motion]:
    """Draw one motion for a scene. For "enters", the returned scene includes the new shape."""
    kind = world.kinds[int(rng.integers(len(world.kinds)))]
    if kind == "enters":
        return _enter(scene, world.frames, rng)
    if kind == "swaps" and len(scene.sprites) >= 2:
        return scene, _swap(scene, world.frames, rng)
    return scene, move(scene, world.frames, rng, stops=kind == "stops")


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
    return all(
        sprite.reach <= centre + step * distance <= size - sprite.reach
        for centre, step, size in zip(sprite.centre, DIRECTIONS[direction], scene.aspect, strict=True)
    )


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


def _enter(scene: Scene, frames: int, rng: np.random.Generator) -> tuple[Scene, Motion]:
    taken = {(sprite.shape, sprite.colour) for sprite in scene.sprites}
    looks = [(shape, colour) for shape in SHAPES for colour in COLOURS if (shape, colour) not in taken]
    shape, colour = looks[int(rng.integers(len(looks)))]
    side = ("left", "right", "top", "bottom")[int(rng.integers(4))]
    reach = SHAPES[shape] * float(rng.uniform(*RADII))
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
    path = tuple((dy * pace * t, dx * pace * t) for t in range(frames))
    still = ((0.0, 0.0),) * frames
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
