"""Held-out first frames, which no training has seen, and their prompts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from jaxtyping import UInt8

from evaluation.sprites.score import direction
from evaluation.sprites.tracking import track
from pipeline.sprites.motions import stays_inside
from pipeline.sprites.render import first_frame
from pipeline.sprites.world import SPEEDS, Scene, Sprite, World, draw_scene

WAYS = ("right", "left", "up", "down")
# Scenes of a dataset are drawn from (seed, number); no dataset reaches these numbers.
_FIRST = 2**31


@dataclass(frozen=True)
class HeldOut:
    """A first frame (RGB) of a scene and which sprite in it should move."""

    image: UInt8[np.ndarray, "h w 3"]
    scene: Scene
    number: int

    @property
    def sprite(self) -> Sprite:
        """The sprite that should move."""
        return self.scene.sprites[self.number]

    def prompt(self, way: str) -> str:
        """The prompt for a direction."""
        return f"the {self.sprite.name} moves {way}"

    def direction(self, frames: UInt8[np.ndarray, "t h w 3"]) -> str:
        """The direction, of eight, in which the sprite moves in a video; empty if it does not."""
        return direction(track(frames, self.scene), self.number)


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
        for at, sprite in enumerate(scene.sprites):
            if colours.count(sprite.colour) == 1 and all(stays_inside(scene, sprite, way, distance) for way in ways):
                yield HeldOut(first_frame(world, scene), scene, at)
                break
