"""``motif study``: create and score."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from base.errors import InputError
from base.storage.folder import Folder
from evaluation.study.create import NewStudy, create_study
from evaluation.study.study import Rules, Study
from evaluation.study.votes import read_votes
from infra.options import parse, plural, report, take_positional


def main(args: list[str]) -> int | None:
    """Run one of the subcommands."""
    if not args or args[0] in ("-h", "--help"):
        lines = [f"  {name:<10} {command.__doc__}" for name, command in _COMMANDS.items()]
        print("\n".join(["usage: motif study COMMAND [OPTIONS]", "", *lines]))
        return 0 if args else 2
    if args[0] not in _COMMANDS:
        raise InputError(f"motif study {args[0]}: unknown subcommand; choose from {', '.join(_COMMANDS)}.")
    return _COMMANDS[args[0]](args[1:])


@dataclass(frozen=True)
class _Create:
    """Make a study from two folders of mp4 files: same names in both, same size, length and frame rate."""

    prompts: Path
    """A CSV file with columns name (of the video, without .mp4) and prompt and, optionally, image and scene."""
    out: Path
    """The study's folder, which must be new."""
    raters: int = 5
    """Votes on each pair."""
    gold: int = 8
    """Questions with a known answer, for every rater: a video of the prompt beside one of another scene."""
    seed: int = 0
    """Decides the sides, the files' order and the gold questions."""
    rules: Annotated[Rules, tyro.conf.arg(name="")] = Rules()


def _create(args: list[str]) -> None:
    """make a study from the videos of two models: A B --prompts CSV --out STUDY"""  # noqa: D403
    a, rest = take_positional(args, "A", "motif study create")
    b, rest = take_positional(rest, "B", "motif study create A")
    options = parse(_Create, rest, "motif study create A B")
    try:
        new = NewStudy(
            Path(a), Path(b), options.prompts, options.out, options.raters, options.gold, options.seed, options.rules
        )
    except ValueError as error:
        raise InputError(f"--{error}.") from error
    from evaluation.statistics.proportion import detectable_share  # with scipy, which --help does not need

    study = create_study(new)
    share = detectable_share(len(study.pairs))
    count = plural(len(study.pairs), "pair")
    if share is None:
        report(f"{count} cannot show a preference: they are too few")
    else:
        report(f"{count} show, with a power of 80 %, that a model is better if it is so in {share:.1%} or more of them")
    made = {"study": str(options.out), "a": study.a, "b": study.b, "pairs": len(study.pairs)}
    print(json.dumps(made | {"slots": len(study.slots), "gold": len(study.gold)}))


@dataclass(frozen=True)
class _Score:
    """Score the votes of a study, with and without the raters that its rules exclude."""

    out: str = ""
    """Also write the score to this JSON file; local or s3://."""


def _score(args: list[str]) -> None:
    """what the votes say, and who was excluded: STUDY VOTES.csv"""  # noqa: D403
    place, rest = take_positional(args, "STUDY", "motif study score")
    file, rest = take_positional(rest, "VOTES", "motif study score STUDY")
    options = parse(_Score, rest, "motif study score STUDY VOTES")
    from evaluation.study.score import score_study
    from evaluation.study.table import tables

    study = Study.load(Path(place))
    score = score_study(study, read_votes(Path(file), study))
    text = json.dumps({"study": place, "votes": file, **asdict(score)}, indent=2)
    if options.out:
        folder, _, name = options.out.rpartition("/")
        Folder(folder or ".").write(name, text.encode())
    console = Console(stderr=True)
    for table in tables(score):
        console.print(table)
    for rater in score.raters:
        if rater.excluded:
            report(f"{rater.name} is excluded: {'; '.join(rater.excluded)}")
    print(text)


_COMMANDS: dict[str, Callable[[list[str]], int | None]] = {"create": _create, "score": _score}
