"""The plan of a study, arms times seeds, and its folder."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from base.errors import InputError
from base.storage.folder import Folder
from evaluation.sprites_study.arms import ARMS, MAIN, REFERENCE
from evaluation.sprites_study.sizes import Size
from training.recipes import Train

_CARD = "study.json"
TRAIN_SEED, HELD_OUT_SEED = 1, 2
"""Seeds of the worlds: of the training's clips and of the held-out pairs. They share no scene."""


@dataclass(frozen=True)
class RunPlan:
    """One run: an arm with a seed, which decides initial weights, order of clips, noise and timesteps."""

    arm: str
    seed: int

    @property
    def name(self) -> str:
        """Its name and that of its folder."""
        return f"{self.arm}-seed{self.seed}"


@dataclass(frozen=True)
class Study:
    """A study in a folder. Its files are kept, so the same study continues where it was interrupted."""

    out: Path
    size: Size
    arms: tuple[str, ...] = MAIN
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        """Check arms and seeds."""
        unknown = [arm for arm in self.arms if arm not in ARMS]
        if unknown or not self.arms:
            raise ValueError(f"arms {' '.join(unknown) or 'are missing'}: choose from {' '.join(ARMS)}")
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {' '.join(map(str, self.seeds))}: give one or more different ones, from 0 on")

    @property
    def runs(self) -> tuple[RunPlan, ...]:
        """All runs in their order: first the main arms seed by seed, so that early results can be compared."""
        return tuple(self._ordered())

    def _ordered(self) -> Iterator[RunPlan]:
        for main in (True, False):
            for seed in self.seeds:
                yield from (RunPlan(arm, seed) for arm in ARMS if arm in self.arms and (arm in MAIN) == main)

    def config(self, run: RunPlan) -> Train:
        """The training of a run: the size's recipe with the arm's change and the seed."""
        return replace(ARMS[run.arm].change(self.size.train), seed=run.seed)

    def folder(self, run: RunPlan) -> Path:
        """The folder of a run, with its training, videos and results."""
        return self.out / "runs" / run.name

    @property
    def sprites(self) -> Path:
        """The generated training videos."""
        return self.out / "sprites"

    @property
    def pairs(self) -> Path:
        """The held-out pairs, as videos."""
        return self.out / "pairs"

    @property
    def data(self) -> Path:
        """The feature dataset of the training videos."""
        return self.out / "data"

    @property
    def held_out(self) -> Path:
        """The feature dataset of the held-out pairs."""
        return self.out / "held_out"

    def claim(self) -> None:
        """Claim the folder for this study. Arms and seeds may be added to an earlier one.

        InputError if the folder holds something else, or a study of another size.
        """
        folder, card = Folder(str(self.out)), {"size": self.size.name, "settings": self.size.settings()}
        if not folder.exists(_CARD):
            if folder.files() or folder.folders():
                raise InputError(f"--out {self.out}: the folder is neither empty nor a study. Choose a new one.")
            folder.write(_CARD, json.dumps(card, indent=2).encode())
            return
        try:
            saved = json.loads(folder.read(_CARD))
        except ValueError as error:
            raise InputError(f"{self.out / _CARD} is not readable JSON. Choose a new folder.") from error
        if differs := _first_difference(saved, json.loads(json.dumps(card))):
            raise InputError(
                f"--out {self.out} holds a study with another {differs}. Restore it, or choose a new folder."
            )


def _first_difference(before: Any, after: Any, path: str = "") -> str:
    """The first field in which two JSON values differ, with both values; empty if none."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before | after:
            if found := _first_difference(before.get(key), after.get(key), f"{path}.{key}".lstrip(".")):
                return found
        return ""
    return "" if before == after else f"{path.removeprefix('settings.')}, {before}, not {after}"


def compared(arms: tuple[str, ...]) -> list[str]:
    """The arms that are compared with the reference; none if it is not among them."""
    return [arm for arm in ARMS if arm in arms and arm != REFERENCE] if REFERENCE in arms else []
