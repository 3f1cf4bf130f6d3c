"""Held-out first frames, which no training has seen, and their prompts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from jaxtyping import UInt8

from pipeline.sprites.render import render
from pipeline.sprites.world import SPEEDS, Motion, Scene, Sprite, World, draw_scene, stays_inside

WAYS = ("right", "left", "up", "down")
# Scenes of a dataset are drawn from (seed, number); no dataset reaches these numbers.
_FIRST = 2**31


@dataclass(frozen=True)
class HeldOut:
    """A first frame (RGB) and the sprite in it that should move."""

    image: UInt8[np.ndarray, "h w 3"]
    sprite: Sprite

    @property
    def start(self) -> tuple[float, float]:
        """Where the sprite is, (y, x) in pixels."""
        short = min(self.image.shape[:2])
        return self.sprite.centre[0] * short, self.sprite.centre[1] * short

    def prompt(self, way: str) -> str:
        """The prompt for a direction."""
        return f"the {self.sprite.name} moves {way}"


def held_out(world: World, num: int, seed: int, ways: Sequence[str] = WAYS) -> list[HeldOut]:
    """The first ``num`` scenes of a seed in which a sprite has room to move in all of these ways.

    No other sprite has its colour: with two red sprites the toy often moves the wrong one.
    """
    return list(islice(_scenes(world, seed, ways), num))


def _scenes(world: World, seed: int, ways: Sequence[str]) -> Iterator[HeldOut]:
    number = _FIRST
    while True:
        scene = draw_scene(world, np.random.default_rng([seed, number]))
        number += 1
        distance = SPEEDS[""] * (world.frames - 1)
        colours = [sprite.colour for sprite in scene.sprites]
        for sprite in scene.sprites:
            if colours.count(sprite.colour) == 1 and all(stays_inside(scene, sprite, way, distance) for way in ways):
                yield HeldOut(_first_frame(world, scene), sprite)
                break


def _first_frame(world: World, scene: Scene) -> UInt8[np.ndarray, "h w 3"]:
    resting = (((0.0, 0.0),) * 2,) * len(scene.sprites)
    frames, _ = render(replace(world, frames=2), scene, Motion("moves", "", (), "", "", resting))
    return np.asarray(frames[0], np.uint8)
