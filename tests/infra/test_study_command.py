"""`motif study`: from two folders to a score, and what collects the votes between them."""

import csv
import json
from pathlib import Path

import pytest

from evaluation.serve.store import Ballot, VoteStore
from evaluation.study.study import Study
from evaluation.study.votes import read_votes
from tests.evaluation.serve.studies import Clock, answer, small_study, write_study
from tests.evaluation.study.videos import NAMES, write_models
from tests.infra.conftest import Motif


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return write_models(tmp_path_factory.mktemp("models"))


def test_a_study_is_created_and_scored(motif: Motif, models: tuple[Path, Path, Path], tmp_path: Path) -> None:
    a, b, prompts = models
    place = tmp_path / "study"
    status, out, error = motif("study", "create", a, b, "--prompts", prompts, "--out", place, "--gold", "2")
    assert status == 0, error
    made = {"study": str(place), "a": "ours", "b": "baseline", "pairs": len(NAMES), "slots": 20, "gold": 2}
    assert json.loads(out) == made
    assert "4 pairs cannot show a preference: they are too few" in error
    study = Study.load(place)
    votes = tmp_path / "votes.csv"
    with votes.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("slot", "rater", "choice", "seconds", "reasons"))
        for slot, question in study.slots.items():
            rows.writerow((slot, f"r{slot[-1]}", "left" if question.left == "a" else "right", 80, "motion;text"))
        for name, gold in study.gold_questions.items():
            rows.writerow((name, "r1", "right" if gold.answer == "left" else "left", 80, ""))
    status, out, error = motif("study", "score", place, votes, "--out", tmp_path / "scores" / "score.json")
    assert status == 0, error
    assert json.loads((tmp_path / "scores" / "score.json").read_text()) == json.loads(out)
    score = json.loads(out)
    assert (score["result"]["raters"], score["with_excluded"]["raters"]) == (4, 5)
    assert score["result"]["preference"]["value"] == 1
    assert [rater["name"] for rater in score["raters"] if rater["excluded"]] == ["r1"]
    assert "5 raters, 1 excluded" in error
    assert "r1 is excluded: 0 of 2 gold questions right; needs 80%\n" in error


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["study", "start"], "motif study start: unknown subcommand; choose from create, serve, export, score."),
        (["study", "create", "A"], "motif study create A: B is missing"),
        (
            ["study", "create", "A", "B", "--prompts", "p", "--out", "o", "--raters", "0"],
            "--raters 0: must be at",
        ),
        (["study", "create", "A", "B", "--prompts", "p", "--out", "o"], "A: there is no such folder"),
        (["study", "score", "nowhere", "votes.csv"], "study nowhere: study.json cannot be read"),
        (["study", "score", "nowhere"], "VOTES is missing"),
        (["study", "serve"], "motif study serve: STUDY is missing"),
        (["study", "serve", "nowhere"], "study nowhere: study.json cannot be read"),
        (["study", "export", "nowhere", "--out", "v.csv"], "study nowhere: study.json cannot be read"),
    ],
)
def test_a_mistake_gets_one_line(
    motif: Motif, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, error = motif(*args)
    assert (status, out) == (2, "")
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study without gold questions, whose votes are in two sorts of database."""
    study = small_study(pairs=2, raters=1)
    place = write_study(tmp_path_factory.mktemp("study") / "study", study)
    for name in ("votes.sqlite", "elsewhere"):
        clock = Clock()
        store = VoteStore(f"sqlite:///{place / name}", study, clock=clock)
        answer(store, store.begin("5f3a", {"PROLIFIC_PID": "5f3a"}).token, clock, Ballot("right", ("text", "motion")))
        store.begin()
        store.close()
    return place


@pytest.mark.parametrize("database", [[], ["--database", "elsewhere"], ["--database", "sqlite:///elsewhere"]])
def test_votes_and_raters_are_exported(
    motif: Motif, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: list[str]
) -> None:
    monkeypatch.chdir(place)
    file = tmp_path / "votes.csv"
    status, out, error = motif("study", "export", place, "--out", file, "--raters", tmp_path / "raters.csv", *database)
    assert status == 0, error
    counts = {"votes": 1, "slots": 2, "gold_answers": 0, "raters": 2, "complete": 0, "excluded": 0}
    assert json.loads(out) == {"study": str(place), "out": str(file)} | counts
    (vote,) = read_votes(file, Study.load(place))
    assert (vote.rater, vote.choice, vote.seconds, vote.reasons) == ("5f3a", "right", 60.0, ("motion", "text"))
    first, second = csv.DictReader((tmp_path / "raters.csv").read_text().splitlines())
    assert json.loads(first.pop("ids")) == {"PROLIFIC_PID": "5f3a"}
    assert first == {
        "rater": "5f3a", "status": "begun", "votes": "1", "gold_right": "0", "gold": "0", "code": "",
        "begun": "2027-01-15T08:00:00+00:00", "completed": "", "excluded": "",
    }  # fmt: skip
    assert (second["rater"], second["status"], second["ids"]) == ("rater-0002", "begun", "")
    assert motif("study", "score", place, file)[0] == 0


def test_links_and_questions_are_exported(motif: Motif, place: Path, tmp_path: Path) -> None:
    status, out, _ = motif("study", "export", place, "--prolific", "https://study.example")
    assert status == 0
    assert json.loads(out)["link"].startswith("https://study.example?PROLIFIC_PID={{%PROLIFIC_PID%}}&")
    folder = tmp_path / "turk"
    status, out, _ = motif("study", "export", place, "--mturk", "https://study.example", "--out", folder)
    assert status == 0
    written = [str(folder / name) for name in ("external_question.xml", "html_question.xml")]
    assert json.loads(out)["written"] == written
    assert all("https://study.example" in Path(name).read_text() for name in written)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["export"], "--out is missing: name the CSV file of the votes, or with --mturk a folder."),
        (["export", "--mturk", "https://a"], "--out is missing: name a folder for the questions."),
        (["export", "--mturk", "https://a", "--prolific", "https://a"], "--prolific, --mturk: give one of them."),
        (["export", "--prolific", "a"], "--prolific a: must be the address under which raters reach the study"),
        (["export", "--mturk", "http://a", "--out", "o"], "--mturk http://a: must be the address"),
        (["export", "--out", "v.csv", "--database", "none"], "none: there is no such file. `motif study serve`"),
        (["serve", "--database", "nowhere://x"], "--database nowhere://x: Can't load plugin"),
        (["serve", "--host", "nowhere.invalid"], "cannot listen on nowhere.invalid at this port"),
    ],
)
def test_a_mistake_with_a_study_gets_one_line(
    motif: Motif, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, error = motif("study", args[0], place, *args[1:])
    assert (status, out) == (2, "")
    assert message in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_study_whose_videos_are_missing_is_not_served(motif: Motif, tmp_path: Path) -> None:
    place = write_study(tmp_path / "study", small_study(pairs=2, raters=1))
    (place / "1b.mp4").unlink()
    status, _, error = motif("study", "serve", place)
    assert (status, error) == (2, f"motif: study {place}: 1b.mp4 is missing. Copy the study's whole folder.\n")
    assert not (place / "votes.sqlite").exists()


def test_settings_out_of_range(motif: Motif, place: Path) -> None:
    for options, message in (
        (["--port", "0"], "port 0: must be from 1 to 65535"),
        (["--platform", "prolific"], "completion_code is missing"),
        (["--tasks", "0"], "tasks 0: must be at least 1"),
    ):
        status, _, error = motif("study", "serve", place, *options)
        assert status == 2
        assert message in " ".join(error.replace("│", " ").split())


def test_a_rule_out_of_range(motif: Motif) -> None:
    status, _, error = motif("study", "create", "A", "B", "--prompts", "p", "--out", "o", "--min-gold", "2")
    assert status == 2
    assert "min_gold 2.0: must be from 0 to 1" in " ".join(error.replace("│", " ").split())
