"""Which faults are tried: drawn from a seed, so that a list can be tried again."""

import random
from dataclasses import dataclass

VICTIMS = {
    "preprocess": (
        "driver",
        "featurizer",
        "decoder",
        "decode task",
        "node",
        "store: 503",
        "store: reset",
        "store: slow",
    ),
    "train": ("driver", "worker", "node"),
    "serve": ("worker", "api", "server", "proxy", "node"),
}
"""What a fault hits, by journey. ``node``: a Ray node dies with all that runs on it, and another one joins."""


@dataclass(frozen=True)
class Fault:
    """A fault of a journey. ``moment``: when, as a share of the time that the journey takes without a fault, or of its
    videos.
    """

    number: int
    journey: str
    victim: str
    moment: float

    def __str__(self) -> str:
        return f"{self.number:>2}  {self.journey:<11} {self.victim:<13} at {self.moment:4.0%}"


def draw_faults(seed: int, count: int, journeys: tuple[str, ...] = tuple(VICTIMS)) -> list[Fault]:
    """``count`` faults, journey by journey in turn; every victim of a journey is hit before one is hit again."""
    draw = random.Random(seed)
    decks: dict[str, list[str]] = {journey: [] for journey in journeys}
    faults = []
    for number in range(count):
        journey = journeys[number % len(journeys)]
        deck = decks[journey]
        if not deck:
            deck += draw.sample(VICTIMS[journey], len(VICTIMS[journey]))
        faults.append(Fault(number + 1, journey, deck.pop(), round(draw.uniform(0.1, 0.9), 2)))
    return faults
