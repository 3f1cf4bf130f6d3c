"""The toy: a small model that comes with the code, trained on moving sprites, and its training settings.

``MODEL`` is its model folder; README.md next to it has the commands, seeds and measurements. ``data`` and
``training`` are the settings: recipes, on the command line too. ``heldout`` has held-out first frames, ``measure`` says
how often videos of them move in the prompted direction.
"""

import json
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
MODEL = _HERE / "model"


@dataclass(frozen=True)
class Story:
    """How the toy was trained: date, command, number of clips, steps and hours.

    ``right`` is the share of held-out videos that moved in the prompted one of eight directions; ``loss`` has (step,
    mean loss since the previous entry).
    """

    date: str
    command: str
    clips: int
    steps: int
    hours: float
    right: float
    loss: tuple[tuple[int, float], ...]


def read_story() -> Story:
    """The record that was committed with the model."""
    saved = json.loads((_HERE / "story.json").read_text())
    return Story(**saved | {"loss": tuple((int(step), float(loss)) for step, loss in saved["loss"])})
