"""The content of a moving-sprites clip: shapes in a scene, and what a motion of them is.

A scene fixes the first frame; motions are drawn separately (:mod:`pipeline.sprites.motions`), so several captions share
one image. Lengths are in units of the frame's short side, so a scene looks the same at any size.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

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
SHARE = 0.03
"""The share of a square frame that a shape with one of the ``RADII`` covers, on average."""
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
_FULLEST = 0.18  # of the frame that shapes may cover together: with more, places that do not overlap are hardly found
PAN = 4 / 256
"""Short sides per frame that a panning camera moves."""
MotionKind = Literal["moves", "stops", "swaps", "enters", "pans", "moves_and_pans"]
ALL_KINDS: tuple[MotionKind, ...] = ("moves", "stops", "swaps", "enters", "pans", "moves_and_pans")
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
    """A motion: ``offsets[i][t]`` is the position of sprite i at frame t relative to its first centre (y, x).

    ``camera[t]`` is how far the camera has moved by frame t (y, x); empty if it stands still. Sprites are in the world,
    so in the picture all of it moves the other way. ``direction`` is that of the sprite, or the camera's if none moves.
    """

    kind: MotionKind
    caption: str
    movers: tuple[int, ...]
    direction: str
    speed: str
    offsets: tuple[tuple[tuple[float, float], ...], ...]
    camera: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class World:
    """The generator's settings: frame size in pixels, number of frames and shapes, and kinds of motion.

    A kind that occurs several times in ``kinds`` is drawn more often. ``share`` is the share of a square frame that a
    shape covers, on average. Of each scene's shapes, ``distractors`` have the colour or the shape of the first one, so
    that a caption must be read to the end. ``clear``: what moves never touches another shape, except that two which
    swap places pass each other.
    """

    height: int = 256
    width: int = 256
    frames: int = 17
    fewest: int = 2
    most: int = 4
    kinds: tuple[MotionKind, ...] = KINDS
    share: float = SHARE
    distractors: int = 0
    clear: bool = False

    def __post_init__(self) -> None:
        """Check the settings: sizes must be encodable, and shapes must fit."""
        if min(self.height, self.width) < 64 or self.height % 2 or self.width % 2:
            raise ValueError(f"size {self.height} x {self.width}: sides must be even and at least 64 pixels")
        if self.frames < 2:
            raise ValueError(f"frames {self.frames}: must be at least 2")
        if not 1 <= self.fewest <= self.most <= 6:
            raise ValueError(f"shapes {self.fewest} to {self.most}: must be between 1 and 6")
        if not self.kinds:
            raise ValueError(f"kinds: none is given; give some of {', '.join(ALL_KINDS)}")
        if not 0.002 <= self.share <= 0.06:
            raise ValueError(f"share {self.share}: must be from 0.002 to 0.06 of the frame")
        if self.share * self.most > _FULLEST + 1e-9:
            fits = _FULLEST / self.most
            raise ValueError(f"share {self.share} of {self.most} shapes: no room for them; use at most {fits:g}")
        if not 0 <= self.distractors < self.fewest:
            raise ValueError(
                f"distractors {self.distractors}: must be from 0 to {self.fewest - 1}, one less than the fewest shapes"
            )

    @property
    def radii(self) -> tuple[float, float]:
        """The smallest and largest radius of a shape, as of the circle of equal area."""
        scale = math.sqrt(self.share / SHARE)
        return RADII[0] * scale, RADII[1] * scale

    def settings(self) -> dict[str, Any]:
        """The settings as plain JSON; of those that earlier versions lacked, only the ones that are not the default."""
        later = {field.name: field.default for field in fields(self) if field.name in ("share", "distractors", "clear")}
        return {name: value for name, value in asdict(self).items() if value != later.get(name, ...)}


def draw_scene(world: World, rng: np.random.Generator) -> Scene:
    """Draw a scene whose sprites do not overlap and are fully inside."""
    short = min(world.height, world.width)
    aspect = (world.height / short, world.width / short)
    chosen = _choose_looks(world, rng)
    sprites: list[Sprite] = []
    while len(sprites) < len(chosen):
        shape, colour = chosen[len(sprites)]
        reach = SHAPES[shape] * float(rng.uniform(*world.radii))
        place = _free_place(aspect, sprites, reach, rng)
        if place is None:  # no room left: start over
            sprites.clear()
            continue
        sprites.append(Sprite(shape, colour, place, reach, int(rng.integers(2**31))))
    return Scene(aspect, tuple(sprites), int(rng.integers(2**31)))


def _choose_looks(world: World, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Shapes and colours of a scene's sprites: the first, its distractors, others."""
    looks = [(shape, colour) for shape in SHAPES for colour in COLOURS]
    first, *rest = (looks[number] for number in rng.permutation(len(looks)))
    alike = [look for look in rest if (look[0] == first[0]) != (look[1] == first[1])][: world.distractors]
    others = [look for look in rest if look not in alike]
    return [first, *alike, *others][: int(rng.integers(world.fewest, world.most + 1))]


def _free_place(
    aspect: tuple[float, float], others: list[Sprite], reach: float, rng: np.random.Generator
) -> tuple[float, float] | None:
    for _ in range(200):
        y = float(rng.uniform(reach + 0.02, aspect[0] - reach - 0.02))
        x = float(rng.uniform(reach + 0.02, aspect[1] - reach - 0.02))
        if all(math.dist((y, x), other.centre) > reach + other.reach + 0.02 for other in others):
            return y, x
    return None
