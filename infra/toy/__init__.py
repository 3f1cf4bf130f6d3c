"""The toy: a small model that comes with the code, trained on moving sprites, and the settings that made it.

``MODEL`` is its model folder; README.md beside it has the commands, the seeds and what was measured. ``data`` and
``training`` are the settings: recipes, on the command line too. ``heldout`` has first frames that no training has seen,
``motion`` tells which way a video moves, ``measure`` how often that is what was asked for.
"""

import json
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
MODEL = _HERE / "model"


@dataclass(frozen=True)
class Story:
    """How the toy came about: when, by which command, on how many clips, in how many steps and hours.

    ``right`` is the share of held-out videos that moved in the one of eight directions that was asked for; ``loss``
    its loss by step, each the mean over the steps since the one before.
    """

    date: str
    command: str
    clips: int
    steps: int
    hours: float
    right: float
    loss: tuple[tuple[int, float], ...]


def read_story() -> Story:
    """The facts that were committed with the model."""
    saved = json.loads((_HERE / "story.json").read_text())
    return Story(**saved | {"loss": tuple((int(step), float(loss)) for step, loss in saved["loss"])})
