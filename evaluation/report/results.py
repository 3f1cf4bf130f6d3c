"""Results of other commands, read from the JSON files that they write."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from base.errors import InputError
from base.storage.folder import Folder
from evaluation.metrics.result import Result as Metrics
from evaluation.report.run import Run
from evaluation.sprites.evaluate import Evaluation
from evaluation.study.score import Score
from models.find import run_name
from training.validation.validate import Validation

T = TypeVar("T")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A kind of result: its type, the option that names it, its file in a folder, the command that makes it.

    ``inside`` is the folder of a run in which it is looked for.
    """

    of: type[T]
    option: str
    command: str
    file: str = ""
    inside: str = ""


VALIDATION = Kind(Validation, "--validation", "motif validate", "validation.json", "validation")
SPRITES = Kind(Evaluation, "--sprites", "motif evaluate sprites", "evaluation.json", "sprites")
METRICS = Kind(Metrics, "--metrics", "motif metrics")
STUDY = Kind(Score, "--study", "motif study score")


@dataclass(frozen=True)
class Found(Generic[T]):
    """A result. ``command`` made it, of the folder ``videos``; empty if the file does not say.

    ``owner`` is the run in whose folder it lies, if it was not given by its option.
    """

    result: T
    folder: Folder
    file: str
    command: str
    videos: str
    owner: Run | None = None

    @property
    def place(self) -> str:
        """The file."""
        return self.folder.file(self.file).removeprefix("./")

    def made_by(self, form: str) -> str:
        """The command that made it, or, if the file does not say, the form of one."""
        return self.command or f"{form}   (the file does not say with which options)"


def read_results(kind: Kind[T], places: Sequence[str], runs: Sequence[Run]) -> list[Found[T]]:
    """The results in these places, or, if there are none, those that lie in the runs.

    InputError if one is not there, damaged, of another kind, or of another version of motif.
    """
    if places:
        return [_read(kind, *_split(kind, place)) for place in dict.fromkeys(places)]
    if not kind.inside:
        return []
    inside = [(run, run.folder / kind.inside) for run in runs]
    return [_read(kind, folder, kind.file, run) for run, folder in inside if folder.exists(kind.file)]


def _split(kind: Kind[T], place: str) -> tuple[Folder, str]:
    """The folder and name of a result's file."""
    if kind.file and not place.endswith(".json"):
        return Folder(place.rstrip("/")), kind.file
    folder, slash, name = place.rpartition("/")
    return Folder(folder or slash or "."), name


def _read(kind: Kind[T], folder: Folder, name: str, owner: Run | None = None) -> Found[T]:
    place = folder.file(name).removeprefix("./")
    title = place if owner else f"{kind.option} {place}"
    try:
        data = folder.read(name)
    except OSError as error:
        remedy = f"`{kind.command} ... --out` writes it."
        raise InputError(f"{title}: there is no such file. {remedy}") from error
    try:
        found = TypeAdapter(kind.of).validate_json(data, strict=True)
        facts = json.loads(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "its JSON"
        raise InputError(
            f"{title} is not a result of `{kind.command}`, is damaged, or is of another version of motif ({where}: "
            f"{first['msg'].lower()}). Run that command again."
        ) from None
    return Found(found, folder, name, str(facts.get("command") or ""), str(facts.get("videos") or ""), owner)


def stale(found: Found[T], measured: Iterable[tuple[str, int | None]], runs: Sequence[Run]) -> list[str]:
    """Sentences on runs that have a checkpoint of another step than that at which they were measured."""
    by_name = {run.name: run for run in runs}
    notes = []
    for label, step in measured:
        run = by_name.get(name_of(label, found, runs))
        if run is not None and step is not None and run.checkpoint not in (None, step):
            notes.append(
                f"{found.place} measured {run.name} at step {step:,}; its checkpoint is of {run.checkpoint:,}."
            )
    return notes


def lacking(runs: Sequence[Run], measured: Iterable[str]) -> str | None:
    """For which runs there is no result, as words after its name; None if there is one for each."""
    there = {*measured}
    without = [run.name for run in runs if run.name not in there]
    if not without:
        return None
    return "" if len(without) == len(runs) else f" of {', '.join(without)}"


def name_of(label: str, found: Found[T], runs: Sequence[Run]) -> str:
    """The name in the report of a model that a result calls ``label``: that of its run, if it is one of the report."""
    same_name = [run for run in runs if run_name(run.folder.absolute().uri) == label]
    if found.owner is not None and found.owner in same_name:
        return found.owner.name
    same_place = [run for run in runs if Folder(label).absolute().uri == run.folder.absolute().uri]
    some = same_place or same_name
    return some[0].name if len(some) == 1 else label
