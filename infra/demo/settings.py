"""Where a demo lies, and what it was made with."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from base.errors import InputError
from base.storage.folder import Folder
from infra.toy import read_story
from infra.toy.data import WORLD

_CARD = "demo.json"
_MADE = ("sprites", "dataset", "run", "samples")


@dataclass(frozen=True)
class Demo:
    """A demo in a folder: so many videos of a seed, and so many steps of training on from the toy."""

    out: Path
    num: int
    seed: int
    steps: int

    @property
    def videos(self) -> Path:
        """Generated videos, with their manifest."""
        return self.out / "sprites"

    @property
    def dataset(self) -> Path:
        """Their features."""
        return self.out / "dataset"

    @property
    def inspected(self) -> Path:
        """The page of ``motif inspect``."""
        return self.dataset / "inspect.html"

    @property
    def run(self) -> Path:
        """The training run."""
        return self.out / "run"

    @property
    def samples(self) -> Path:
        """Videos that were sampled."""
        return self.out / "samples"

    @property
    def page(self) -> Path:
        """The page of the whole."""
        return self.out / "index.html"

    def claim(self) -> None:
        """Make the folder this demo's.

        What an earlier demo of other videos or of another toy made is deleted. InputError where the folder holds
        something else.
        """
        folder, card = Folder(str(self.out)), self._card()
        if not folder.exists(_CARD):
            if folder.files() or folder.folders():
                raise InputError(f"--out {self.out}: the folder is not empty and holds no demo. Choose a new one.")
        elif self._read(folder) == card:
            return
        for name in _MADE:
            (folder / name).delete_all()
        folder.write(_CARD, json.dumps(card, indent=2).encode())

    def _card(self) -> dict[str, Any]:
        """What all of it depends on, as plain JSON; the number of steps may grow."""
        story = read_story()
        facts = {"num": self.num, "seed": self.seed, "world": asdict(WORLD), "toy": [story.date, story.steps]}
        return dict(json.loads(json.dumps(facts)))

    def _read(self, folder: Folder) -> Any:
        try:
            return json.loads(folder.read(_CARD))
        except ValueError:  # torn by a crash: as good as none
            return None
