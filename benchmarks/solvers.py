"""How few steps each solver needs: videos of the toy by DDIM, DPM-Solver++ and UniPC, against DDIM with many steps.

    python -m benchmarks.solvers [--scenes 6] [--save]

Each solver begins with the same noise. ``difference`` is the mean difference of its video from that of DDIM with 1000
steps, all that the schedule has, in 8-bit levels, over pixels that are not the same in every frame of that video;
``right`` how many sprites go where they are asked to. Only quality is measured: a step takes all three about as long.
"""

import itertools
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import UInt8

from benchmarks.report import arguments, report
from diffusion.options import Sampling, Solver
from infra.toy import MODEL
from infra.toy.data import WORLD
from infra.toy.heldout import WAYS, HeldOut, held_out
from models.generator import Generator, Request

_STEPS = (5, 8, 12, 20, 30, 50)
_REFERENCE = 1000
_SEED = 3


def videos(generator: Generator, scenes: list[HeldOut], options: Sampling) -> UInt8[np.ndarray, "b t h w 3"]:
    """A video of each scene, each asked for another direction."""
    ways = itertools.cycle(WAYS)
    return generator.generate(
        [Request(scene.image, scene.prompt(next(ways)), seed) for seed, scene in enumerate(scenes)], options
    )


def compare(
    found: UInt8[np.ndarray, "b t h w 3"], reference: UInt8[np.ndarray, "b t h w 3"], scenes: list[HeldOut]
) -> dict[str, Any]:
    """How far videos are from the reference where that moves, and how many sprites go the right way."""
    moving = np.ptp(reference, axis=1, keepdims=True).max(axis=-1, keepdims=True) > 8
    difference = np.abs(found.astype(np.int16) - reference).mean(axis=-1, keepdims=True)
    ways = [scene.direction(video) for video, scene in zip(found, scenes, strict=True)]
    right = sum(way == asked for way, asked in zip(ways, itertools.cycle(WAYS), strict=False))
    mean = float(difference[np.broadcast_to(moving, difference.shape)].mean())
    return {"difference": round(mean, 2), "right": right}


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--scenes", type=int, default=6)
    options = parser.parse_args()
    generator = Generator.load(MODEL, torch.device("cpu"))
    scenes = held_out(WORLD, options.scenes, _SEED)
    usual = generator.facts.sampling
    # One spacing for all: DDIM's usual one begins at another time, which would count against the other solvers.
    settings: dict[str, Any] = {"guidance": usual.guidance, "guidance_rescale": usual.guidance_rescale}
    settings["spacing"] = "trailing"
    reference = videos(generator, scenes, Sampling(_REFERENCE, **settings))
    table: dict[str, dict[int, dict[str, Any]]] = {}
    for solver in get_args(Solver):
        for steps in _STEPS:
            made = videos(generator, scenes, Sampling(steps, solver=solver, **settings))
            found = compare(made, reference, scenes)
            table.setdefault(solver, {})[steps] = found
            print(f"{solver:6} {steps:3} steps: {found['difference']:6.2f} levels, {found['right']} right", flush=True)
    bound = table["ddim"][50]["difference"]
    fewest = {
        solver: min((steps for steps, found in rows.items() if found["difference"] <= bound), default=None)
        for solver, rows in table.items()
    }
    figures = {"videos": len(scenes), "reference_steps": _REFERENCE, "as_near_as_ddim_50": fewest, "table": table}
    goals = {"a solver is as near as DDIM's 50 steps with 20": min(n or 99 for n in fewest.values()) <= 20}
    report("solvers", figures, goals)


if __name__ == "__main__":
    main()
