"""How often a model moves sprites as prompted: ``python -m infra.toy.measure [MODEL]``.

MODEL is a run or a model folder of the toy's size; by default the toy itself. Prints one JSON line.
"""

import json
import sys
from collections.abc import Callable

import torch

from infra.toy import MODEL
from infra.toy.data import WORLD
from infra.toy.heldout import held_out
from models.find import find_candidates
from models.generator import Generator, Request
from pipeline.sprites.world import DIRECTIONS

_SCENES, _SEED = 16, 1


def measure(generator: Generator, scenes: int, report: Callable[[str], None]) -> dict[str, int]:
    """For each of the eight directions, how many of ``scenes`` held-out scenes move in it when prompted to.

    The noise is the same for all directions of a scene. A direction counts if it is the nearest of the eight.
    """
    ways = tuple(DIRECTIONS)
    right = dict.fromkeys(ways, 0)
    for number, scene in enumerate(held_out(WORLD, scenes, _SEED, ways)):
        videos = generator.generate([Request(scene.image, scene.prompt(way), number) for way in ways])
        moved = [scene.direction(video) or "still" for video in videos]
        for way, found in zip(ways, moved, strict=True):
            right[way] += way == found
        report(f"{scene.sprite.name}: {', '.join(f'{way} -> {found}' for way, found in zip(ways, moved, strict=True))}")
    return right


def main() -> None:
    """Measure the model that the command line names."""
    model = sys.argv[1] if len(sys.argv) > 1 else str(MODEL)
    (candidate,) = find_candidates([model])
    generator = Generator.load(candidate.weights(), torch.device("cpu"))
    right = measure(generator, _SCENES, lambda line: print(line, file=sys.stderr))
    videos = _SCENES * len(right)
    summary = {"model": model, "step": candidate.facts.step, "videos": videos, "by_direction": right}
    print(json.dumps(summary | {"right": round(sum(right.values()) / videos, 3)}))


if __name__ == "__main__":
    main()
