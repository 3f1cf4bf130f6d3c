"""``motif study``: create, serve, export and score."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from base.errors import InputError
from base.storage.folder import Folder
from base.storage.uri import without_password
from evaluation.serve.settings import Settings, database_url
from evaluation.study.create import NewStudy, create_study
from evaluation.study.study import Rules, Study
from evaluation.study.votes import read_votes
from infra.options import command_line, parse, plural, report, take_positional


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
class _Serve:
    """Show a study to raters on a web page, and collect their votes in a database, until Ctrl+C."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all. Put a reverse proxy with TLS in front of it for raters elsewhere."""
    port: int = 8000
    """Port to listen on, from 1 to 65535."""
    database: str = ""
    """An SQLite file, or an SQLAlchemy URL; by default the file votes.sqlite in the study's folder."""
    settings: Annotated[Settings, tyro.conf.arg(name="")] = Settings()

    def __post_init__(self) -> None:
        """Check the port."""
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port {self.port}: must be from 1 to 65535")


def _serve(args: list[str]) -> int:
    """show a study to raters on a web page, and collect their votes: STUDY [--host HOST --port PORT]"""  # noqa: D403
    place, rest = take_positional(args, "STUDY", "motif study serve")
    options = parse(_Serve, rest, "motif study serve STUDY")
    from evaluation.serve.app import check_files  # with FastAPI and SQLAlchemy, which --help does not need
    from evaluation.serve.export import summarize
    from evaluation.serve.server import serve_study
    from evaluation.serve.store import VoteStore
    from infra.commands.serve import check_port, url_of

    folder = Path(place)
    study = Study.load(folder)
    check_files(folder, study)
    check_port(options.host, options.port)
    url, database = url_of(options.host, options.port), database_url(options.database, folder)
    store = VoteStore(database, study, options.settings)

    def ready() -> None:
        shown = {"url": url, "study": place, "database": without_password(database)}
        print(json.dumps(shown | summarize(study, store.votes(), store.raters())), flush=True)
        report(f"Ready: {url} is the page for raters. Press Ctrl+C to stop; the votes are kept.")

    serve_study(folder, store, options.host, options.port, ready)
    return 0


@dataclass(frozen=True)
class _Export:
    """Write the votes as a CSV file, or what Prolific or Mechanical Turk need to send raters."""

    database: str = ""
    """An SQLite file, or an SQLAlchemy URL; by default the file votes.sqlite in the study's folder."""
    out: str = ""
    """The CSV file of votes, local or s3://; with --mturk, a folder for the questions."""
    raters: str = ""
    """Also write a CSV file of all raters, with codes and ids: whom to pay."""
    prolific: str = ""
    """The study's address; prints the URL to enter on Prolific."""
    mturk: str = ""
    """The study's address; writes external_question.xml and html_question.xml for CreateHIT."""


def _export(args: list[str]) -> None:
    """the votes as CSV, or links for platforms: STUDY --out VOTES.csv, or --prolific URL, or --mturk URL"""  # noqa: D403
    place, rest = take_positional(args, "STUDY", "motif study export")
    options = parse(_Export, rest, "motif study export STUDY")
    study = Study.load(Path(place))
    if options.prolific and options.mturk:
        raise InputError("--prolific, --mturk: give one of them.")
    if options.prolific or options.mturk:
        _export_links(options, place)
    elif options.out:
        _export_votes(study, options, place)
    else:
        raise InputError("--out is missing: name the CSV file of the votes, or with --mturk a folder.")


def _export_links(options: _Export, place: str) -> None:
    from evaluation.serve.platforms import external_question, html_question, prolific_link

    if options.prolific:
        print(json.dumps({"study": place, "link": prolific_link(options.prolific)}))
        return
    if not options.out:
        raise InputError("--out is missing: name a folder for the questions.")
    written = {"external_question.xml": external_question, "html_question.xml": html_question}
    for name, make in written.items():
        _write(f"{options.out}/{name}", make(options.mturk))
    print(json.dumps({"study": place, "written": [f"{options.out}/{name}" for name in written]}))


def _export_votes(study: Study, options: _Export, place: str) -> None:
    from evaluation.serve.export import raters_csv, summarize, votes_csv
    from evaluation.serve.store import VoteStore

    store = VoteStore(database_url(options.database, Path(place)), study, new=False)
    try:
        votes = store.votes()
        _write(options.out, votes_csv(votes))
        if options.raters:
            _write(options.raters, raters_csv(store))
        print(json.dumps({"study": place, "out": options.out, **summarize(study, votes, store.raters())}))
    finally:
        store.close()


def _write(path: str, text: str) -> None:
    folder, _, name = path.rpartition("/")
    Folder(folder or ".").write(name, text.encode())


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
    made = {"command": command_line("motif study score", args), "study": place, "votes": file}
    text = json.dumps({**made, **asdict(score)}, indent=2)
    if options.out:
        _write(options.out, text)
    console = Console(stderr=True)
    for table in tables(score):
        console.print(table)
    for rater in score.raters:
        if rater.excluded:
            report(f"{rater.name} is excluded: {'; '.join(rater.excluded)}")
    print(text)


_COMMANDS: dict[str, Callable[[list[str]], int | None]] = {
    "create": _create,
    "serve": _serve,
    "export": _export,
    "score": _score,
}
