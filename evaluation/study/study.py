"""A study as it is stored: pairs of videos, slots for votes, gold questions, and the rules for excluding raters.

A slot is one vote to be given: each pair has as many as raters shall judge it, and each is given to one rater only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from base.errors import InputError

FILE = "study.json"
FORMAT = 1
Model = Literal["a", "b"]
Side = Literal["left", "right"]


@dataclass(frozen=True)
class Rules:
    """When a rater is excluded, and how fast votes may be; fixed when the study is created, before there are votes."""

    min_gold: float = 0.8
    """Smallest share of gold questions that a rater must answer as known."""
    min_seconds: float = 60.0
    """Shortest time for a task."""
    max_fast: float = 0.1
    """Largest share of a rater's votes that may have taken less time."""
    side_alpha: float = 0.001
    """A rater is excluded if the exact test of their left and right votes has a smaller p-value."""

    def __post_init__(self) -> None:
        for name in ("min_gold", "max_fast", "side_alpha"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)}: must be from 0 to 1")
        if not self.min_seconds >= 0:
            raise ValueError(f"min_seconds {self.min_seconds}: must be at least 0")


@dataclass(frozen=True)
class Pair:
    """One prompt and image with a video of each model; votes on pairs of the same scene are not independent."""

    name: str
    prompt: str
    scene: str
    image: str
    """The condition image as a file of the study, or "" if raters see none."""
    a: str
    """The video of model a, a file of the study."""
    b: str
    left: str
    """The model on the left in each slot, such as "abbab"; its length is the number of raters."""


@dataclass(frozen=True)
class Gold:
    """A question with a known answer: the video of a pair beside a video of another scene, which does not fit."""

    pair: str
    other: str
    """The pair from which the wrong video is."""
    left: str
    right: str
    answer: Side


@dataclass(frozen=True)
class Slot:
    """One vote to be given on a pair."""

    pair: Pair
    left: Model

    def model(self, choice: Side) -> Model:
        """The model that a choice is for."""
        return self.left if choice == "left" else "b" if self.left == "a" else "a"


@dataclass(frozen=True)
class Study:
    """A comparison of model ``a`` with model ``b``."""

    format: int
    a: str
    """The name of model a in results."""
    b: str
    seed: int
    rules: Rules
    pairs: tuple[Pair, ...]
    gold: tuple[Gold, ...]

    @cached_property
    def slots(self) -> dict[str, Slot]:
        """All slots by id, such as ``0007-2``: the pair's number and the vote's, both from 1."""
        return dict(self._slots())

    @cached_property
    def gold_questions(self) -> dict[str, Gold]:
        """All gold questions by id, such as ``gold-3``; every rater may answer each."""
        return {f"gold-{number}": gold for number, gold in enumerate(self.gold, 1)}

    def _slots(self) -> Iterator[tuple[str, Slot]]:
        for number, pair in enumerate(self.pairs, 1):
            for vote, model in enumerate(pair.left, 1):
                yield f"{number:04}-{vote}", Slot(pair, "a" if model == "a" else "b")

    def save(self, folder: Path) -> None:
        """Write the study's file."""
        (folder / FILE).write_bytes(self.to_json())

    def to_json(self) -> bytes:
        """The content of the study's file."""
        return _ADAPTER.dump_json(self, indent=2)

    @classmethod
    def load(cls, folder: Path) -> "Study":
        """Read a study; InputError if the folder is none, or is of another version."""
        try:
            study = _ADAPTER.validate_json((folder / FILE).read_bytes(), strict=True)
        except OSError as error:
            raise InputError(
                f"study {folder}: {FILE} cannot be read: {error.strerror}. `motif study create` makes a study."
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "its JSON"
            raise InputError(f"{folder / FILE} is not a study, or is damaged: {where}: {first['msg']}.") from None
        if study.format != FORMAT:
            raise InputError(
                f"{folder / FILE} has format {study.format}, and this version of motif reads {FORMAT}. Use the version "
                "that made it."
            )
        return study


_ADAPTER = TypeAdapter(Study)
