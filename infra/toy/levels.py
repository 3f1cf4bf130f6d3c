"""Whether a motion level says how far sprites move: ``python -m infra.toy.levels FOLDER``.

Makes clips of which no caption tells the speed, adds a motion level to the toy in a few hundred steps, and samples
held-out scenes at every level. Prints one JSON line. FOLDER gets the clips, their features and the run; what is there
already is used.
"""

import csv
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from base import ray_session
from base.storage.folder import Folder
from diffusion.options import MOTION_LEVELS
from evaluation.sprites.tracking import track
from infra.toy import MODEL
from infra.toy.data import WORLD, clips
from infra.toy.heldout import held_out
from infra.toy.training import toy
from models.find import find_candidates
from models.generator import Generator, Request
from models.videocrafter2.backbone import VideoCrafter2
from pipeline.run.job import Job
from pipeline.run.run import Run
from pipeline.sprites.files import COLUMNS, write_sprites
from pipeline.sprites.world import SPEEDS
from training.options import Samples, Saves
from training.recipes import Train
from training.run.job import TrainJob
from training.run.launch import launch

Report = Callable[[str], None]
CLIPS, STEPS, SCENES = 96, 200, 4
_SEED = 5
_LEVELS = range(1, MOTION_LEVELS + 1)


@dataclass(frozen=True)
class Levels:
    """How far sprites moved at each level, in short sides, mean over scenes, and how the ranks of the two agree."""

    displacement: tuple[float, ...]
    spearman: float
    """Of the ten means."""
    spearman_of_videos: float
    """Of all videos, whose scenes differ in how far they move at all."""


def main() -> None:
    """Measure, in the folder that the command line names."""
    folder = Path(sys.argv[1])

    def report(line: str) -> None:
        print(line, file=sys.stderr)

    manifest = write_clips(folder / "sprites", CLIPS)
    with ray_session.session():
        Run(Job(clips(), str(manifest), Folder(str(folder / "data"))), report).execute()
    run = train(folder, STEPS, report)
    print(json.dumps({"clips": CLIPS, "steps": STEPS, "scenes": SCENES} | asdict(measure(run, SCENES, report))))


def write_clips(folder: Path, num: int) -> Path:
    """Write clips, unless they are there; returns a manifest whose captions lack the speeds."""
    silent = folder / "silent.csv"
    if silent.exists():
        return silent
    with write_sprites(folder, WORLD, num, _SEED, prompts_per_scene=4).open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for word in filter(None, SPEEDS):
            row["caption"] = row["caption"].replace(f" {word} ", " ")
    with silent.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return silent


def recipe(steps: int) -> Train:
    """The toy's, from the toy as it is, with a motion level."""
    made = toy()
    assert isinstance(made.network, VideoCrafter2)
    return replace(
        made,
        network=replace(made.network, start=str(MODEL), motion_level=True),
        optimiser=replace(made.optimiser, lr=1e-3, warmup=20, ema=0.98),
        steps=steps,
        saves=Saves(every=steps),
        samples=Samples(every=0, steps=12, guidance=1.5),
        trackers=(),
    )


def train(folder: Path, steps: int, report: Report) -> Path:
    """Train, unless that was done, and return the run."""
    launch(TrainJob(recipe(steps), (str(folder / "data"),), Folder(str(folder / "run"))), report)
    return folder / "run"


def measure(run: Path, scenes: int, report: Report) -> Levels:
    """Sample held-out scenes at every level with the same noise, each scene in its own direction."""
    (candidate,) = find_candidates([str(run)])
    generator = Generator.load(candidate.weights(), torch.device("cpu"))
    ways = ("right", "left", "up", "down")
    found = []
    for number, scene in enumerate(held_out(WORLD, scenes, _SEED, ways)):
        prompt = scene.prompt(ways[number % len(ways)])
        requests = [Request(scene.image, prompt, number, motion_level=level) for level in _LEVELS]
        moves = [track(video, scene.scene).moves[scene.number, -1] for video in generator.generate(requests)]
        found.append([float(np.linalg.norm(move)) for move in moves])
        report(f"{prompt}: {', '.join(f'{distance:.2f}' for distance in found[-1])}")
    return summary(found)


def summary(found: Sequence[Sequence[float]]) -> Levels:
    """Of displacements by scene and level."""
    distances = np.array(found)
    means = distances.mean(axis=0)
    every = spearmanr(np.tile(_LEVELS, len(distances)), distances.ravel()).statistic
    rounded = tuple(round(float(mean), 3) for mean in means)
    return Levels(rounded, round(float(spearmanr(_LEVELS, means).statistic), 3), round(float(every), 3))


if __name__ == "__main__":
    main()
