"""The folders of a demo, and the settings it was made with."""

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
    """A demo in a folder: its number of videos, their seed, and its training steps."""

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
        """The feature dataset of the videos."""
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
        """Sampled videos."""
        return self.out / "samples"

    @property
    def page(self) -> Path:
        """The page of the demo."""
        return self.out / "index.html"

    def claim(self) -> None:
        """Claim the folder for this demo.

        Files of an earlier demo with other videos or another toy are deleted. InputError if the folder holds
        anything else.
        """
        folder, card = Folder(str(self.out)), self._card()
        if not folder.exists(_CARD):
            if folder.files() or folder.folders():
                raise InputError(f"--out {self.out}: the folder is neither empty nor a demo. Choose a new one.")
        elif self._read(folder) == card:
            return
        for name in _MADE:
            (folder / name).delete_all()
        folder.write(_CARD, json.dumps(card, indent=2).encode())

    def _card(self) -> dict[str, Any]:
        """Everything that files depend on, as plain JSON; steps are left out, as they may grow."""
        story = read_story()
        facts = {"num": self.num, "seed": self.seed, "world": asdict(WORLD), "toy": [story.date, story.steps]}
        return dict(json.loads(json.dumps(facts)))

    def _read(self, folder: Folder) -> Any:
        try:
            return json.loads(folder.read(_CARD))
        except ValueError:  # truncated by a crash: treated as missing
            return None
