"""Random histories of a dataset: what users do to one, one after the other, and what must hold after each step.

A history is a list of steps drawn from a seed. It runs in this process (:class:`tests.pipeline.in_process.InProcess`)
on videos of a few frames, with the real plan, probe, decode, featurize and write stages. A kill is an exception at the
n-th write, after which nothing is written any more, not even by what cleans up: as after kill -9.
"""

import contextlib
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from base.storage.folder import Folder
from dataset.parts.schema import Column
from dataset.parts.tables import StoreOptions
from pipeline.curation.compact import compact
from pipeline.curation.recaption import recaption
from pipeline.featurizers.base import ClipBatch, ClipFeature, ClipFunction, Feature, TextFeature, TextFunction
from pipeline.manifest import ManifestColumns
from pipeline.recipes import Preprocess
from pipeline.run.accounting import Account
from pipeline.run.job import Job, RetryFilter
from pipeline.run.run import Run
from pipeline.video.geometry import ClipShape
from pipeline.video.sampling import Sampling
from tests.pipeline.features import Brightness
from tests.pipeline.in_process import InProcess, WorkerDies
from tests.videos import pictures, write

SHAPE = ClipShape(4, 64, 64)
VIDEOS = 10
PASSES = 24  # more than any step needs: two groups of artifacts for each part, and a clip that kills at each


@dataclass(frozen=True)
class Cells(ClipFeature):
    """Mean colours of the quarters of each frame; some clips fail in it, and one kills the process."""

    kind: ClassVar[str] = "cells"
    unit: int = 1
    fails_above: float = 1e9
    kills_above: float = 1e9

    def identity(self) -> dict[str, Any]:
        return {"unit": self.unit, "version": 1}

    def columns(self, shape: ClipShape) -> tuple[Column, ...]:
        return (Column("cells", "float32", (shape.frames, 2, 2), "t h w", about="means"), Column("least", "float32"))

    def load(self, shape: ClipShape, device: torch.device) -> ClipFunction:
        def compute(batch: ClipBatch) -> dict[str, np.ndarray]:
            level = batch.frames[:, 0, 40:60, 40:60].mean(axis=(1, 2, 3))
            if (level > self.kills_above).any():
                raise WorkerDies
            if (level > self.fails_above).any():
                raise RuntimeError("too bright")
            frames = batch.frames[:, : shape.frames].astype(np.float64) / self.unit
            cells = frames.reshape(len(frames), shape.frames, 2, 32, 2, 32, 3).mean(axis=(3, 5, 6)).astype(np.float32)
            return {"cells": cells, "least": cells.min(axis=(1, 2, 3))}

        return compute


@dataclass(frozen=True)
class Letters(TextFeature):
    """Counts of letters: a text feature in a line."""

    kind: ClassVar[str] = "text"

    def identity(self) -> dict[str, Any]:
        return {"encoder": "letters", "version": 1}

    def columns(self, shape: ClipShape) -> tuple[Column, ...]:
        return (Column("states", "float32", (1, 26), "l d"),)

    def load(self, device: torch.device) -> TextFunction:
        return lambda captions: {"states": np.stack([letters(caption) for caption in captions])}


def letters(caption: str) -> np.ndarray:
    """What Letters computes for one caption."""
    found = np.zeros((1, 26), np.float32)
    for letter in caption:
        if "a" <= letter <= "z":
            found[0, ord(letter) - ord("a")] += 1
    return found


FEATURES: dict[str, Feature] = {
    "brightness": Brightness(),
    "brightness-2": Brightness(2.0),
    "cells": Cells(),
    "cells-2": Cells(2),
    "text": Letters(),
}
# Recipes by the features that they have; some of a kind differ, as normalisations of heatmaps do.
RECIPES = (
    ("brightness",),
    ("brightness", "cells", "text"),
    ("brightness-2", "text"),
    ("cells-2",),
    ("brightness-2", "cells-2", "text"),
    ("brightness", "cells-2"),
)


def make_library(folder: Path) -> Path:
    """Videos that all histories share: ``v0.mp4`` ... of different lengths and brightness, and files that are none."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(VIDEOS + 4):
        frames = pictures(6 + number % 5, 64, 64)
        frames[:, 32:, 32:] = 10 + 16 * number
        write(folder / f"v{number}.mp4", frames, options={"preset": "ultrafast"})
    write(folder / "short.mp4", pictures(2, 64, 64))
    (folder / "text.mp4").write_text("not a video\n" * 50)
    return folder


@dataclass(frozen=True)
class Step:
    """What is done to the dataset. ``rows`` is the manifest: (file, caption); ``files`` what each name holds now."""

    recipe: tuple[str, ...]
    rows: tuple[tuple[str, str], ...]
    files: Mapping[str, str]
    clips_a_part: int = 4
    limit: int | None = None
    retry: bool = False
    recaption: bool = False
    compact: int | None = None
    """Rows to which parts are merged before the run; ``compact_dies`` is the write after which that dies."""
    compact_dies: int | None = None
    fails_above: float = 1e9
    kills_above: float = 1e9
    keep: tuple[str, ...] = ()
    kills: tuple[int, ...] = ()
    """Writes after which the run dies, one try after the other; then the same command runs to its end."""
    abandoned: int | None = None
    """The write after which the run dies, to be followed by the next step at once."""

    def job(self, place: Path, dataset: Folder) -> Job:
        """The command of this step."""
        features = {name.split("-")[0]: FEATURES[name] for name in self.recipe}
        if isinstance(cells := features.get("cells"), Cells):
            features["cells"] = replace(cells, fails_above=self.fails_above, kills_above=self.kills_above)
        recipe = Preprocess(
            sampling=Sampling(frames=4, max_stride=1),
            height=64,
            width=64,
            features=features,
            captions="optional",
            keep=self.keep,
            store=StoreOptions(self.clips_a_part, 2),
            max_failed=1.0,
        )
        return Job(
            recipe, str(place / "manifest.csv"), dataset, limit=self.limit, retry=RetryFilter() if self.retry else None
        )

    def prepare(self, library: Path, place: Path) -> None:
        """The videos and the manifest as they are at this step."""
        for name, source in self.files.items():
            if (library / source).read_bytes() != ((place / name).read_bytes() if (place / name).exists() else None):
                shutil.copyfile(library / source, place / name)
        lines = ["video,caption", *(f"{name},{caption}" for name, caption in self.rows)]
        (place / "manifest.csv").write_text("\n".join(lines))


def draw_history(seed: int, *, changes: bool = True) -> list[Step]:
    """Three to five steps. ``changes``: files may be exchanged for others on the way, and runs broken off."""
    draw, draw_compact = random.Random(seed), random.Random(f"compact {seed}")
    files = {f"{number}.mp4": f"v{number}.mp4" for number in range(VIDEOS)}
    files |= {"short.mp4": "short.mp4", "text.mp4": "text.mp4", "copy.mp4": "v0.mp4"}
    captions = {name: f"caption {chr(97 + number)}" for number, name in enumerate(files)}
    steps: list[Step] = []
    breaks_off = changes and draw.random() < 0.4  # such a history has no twin without kills
    for number in range(draw.randint(2, 4)):
        if changes and steps and draw.random() < 0.15:
            files = files | {draw.choice(list(files)): f"v{draw.randrange(VIDEOS, VIDEOS + 4)}.mp4"}
        if draw.random() < 0.2:
            captions = captions | {draw.choice(list(captions)): f"other words {chr(97 + number)}"}
        names = draw.sample(list(files), draw.randint(3, len(files)))
        rows = [(name, captions[name]) for name in sorted(names)]
        if draw.random() < 0.3:
            rows.append(draw.choice(rows))  # a duplicate
        if draw.random() < 0.3:
            rows.insert(0, ("gone.mp4", "not there"))
        kills = tuple(draw.randint(1, 30) for _ in range(draw.choice((0, 0, 1, 1, 2))))
        limit = draw.choice((None, None, None, 2, 5))
        steps.append(
            Step(
                draw.choice(RECIPES),
                tuple(rows),
                files,
                clips_a_part=draw.choice((2, 4, 4, 6)),
                limit=limit,
                retry=bool(steps) and draw.random() < 0.25,
                recaption=bool(steps) and draw.random() < 0.15,
                compact=draw_compact.choice((4, 8, 20)) if changes and steps and draw_compact.random() < 0.3 else None,
                compact_dies=draw_compact.randint(0, 30) if draw_compact.random() < 0.3 else None,
                fails_above=draw.choice((1e9, 1e9, 120.0)),
                kills_above=draw.choice((1e9, 1e9, 1e9, 140.0)),
                keep=draw.choice(((), (), (), ("source_frames>=7",))),
                kills=() if limit else kills,  # a second try with a limit goes on to the next clips
                abandoned=draw.randint(1, 30) if breaks_off and draw.random() < 0.4 else None,
            )
        )
    whole = tuple((name, captions[name]) for name in files)
    steps.append(Step(draw.choice(RECIPES), whole, files, kills=(draw.randint(1, 30),)))
    return steps


class Killed(BaseException):
    """The run is dead."""


@dataclass
class Life:
    """How many writes are left; None: as many as there are."""

    left: int | None = None
    dead: bool = False

    def spend(self) -> None:
        """One write or deletion is about to happen."""
        if self.dead or self.left == 0:
            self.dead = True
            raise Killed
        if self.left is not None:
            self.left -= 1


@dataclass(frozen=True)
class MortalFolder(Folder):
    """A folder whose writer dies."""

    life: Life = field(default_factory=Life, compare=False)

    def __truediv__(self, name: str) -> "MortalFolder":
        return MortalFolder(f"{self.uri}/{name}", self.life)

    def write(self, name: str, data: Any) -> None:
        self._spend(name)
        super().write(name, data)

    def delete(self, name: str) -> None:
        self._spend(name)
        super().delete(name)

    def move(self, name: str, target: Folder) -> None:
        self._spend(name)
        super().move(name, target)

    def _spend(self, name: str) -> None:
        if not name.startswith("lock"):  # a lock that its dead holder left has tests of its own
            self.life.spend()


class History:
    """Plays steps on one dataset and checks what must hold."""

    def __init__(self, library: Path, place: Path, dataset: Path, seed: int) -> None:
        self.library = library
        self.place = place
        self.dataset = dataset
        self.draw = random.Random(seed)
        self.said: list[str] = []
        place.mkdir(parents=True, exist_ok=True)

    def prepare(self, step: Step) -> None:
        """Videos, manifest, captions and parts as they are at this step."""
        step.prepare(self.library, self.place)
        if step.recaption and (self.dataset / "dataset.json").exists() and list(self.dataset.glob("runs/*Z.json")):
            recaption(Folder(str(self.dataset)), str(self.place / "manifest.csv"), ManifestColumns())
        if step.compact and (self.dataset / "dataset.json").exists():
            with contextlib.suppress(Killed):
                folder = MortalFolder(str(self.dataset), Life(step.compact_dies))
                compact(folder, step.compact, step.compact, self.said.append)

    def play(self, step: Step, *, kills: bool = True) -> Account | None:
        """A step with its kills; returns the account of its last run, None where it was abandoned."""
        if step.abandoned is not None:
            self.run(step, Life(step.abandoned))
            return None
        for left in step.kills if kills else ():
            self.run(step, Life(left))
        return self.run(step, Life())

    def run(self, step: Step, life: Life) -> Account | None:
        """One try; None where it died."""
        executor = Bounded(self.draw)
        try:
            folder = MortalFolder(str(self.dataset), life)
            self.said = []
            return Run(step.job(self.place, folder), self.said.append, executor).execute()
        except Killed:
            return None


class Bounded(InProcess):
    """Parts in random order, and no more passes than a run can need."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__(lambda numbers: draw.sample(list(numbers), len(numbers)), block=draw.choice((1, 2, 3)))

    @property
    def passes(self) -> int:
        return self._passes

    @passes.setter
    def passes(self, value: int) -> None:
        assert value <= PASSES, "the run repeats its passes"
        self._passes = value
