"""`motif study`: from two folders to a score."""

import csv
import json
from pathlib import Path

import pytest

from evaluation.study.study import Study
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
        (["study", "start"], "motif study start: unknown subcommand; choose from create, score."),
        (["study", "create", "A"], "motif study create A: B is missing"),
        (
            ["study", "create", "A", "B", "--prompts", "p", "--out", "o", "--raters", "0"],
            "--raters 0: must be at",
        ),
        (["study", "create", "A", "B", "--prompts", "p", "--out", "o"], "A: there is no such folder"),
        (["study", "score", "nowhere", "votes.csv"], "study nowhere: study.json cannot be read"),
        (["study", "score", "nowhere"], "VOTES is missing"),
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


def test_a_rule_out_of_range(motif: Motif) -> None:
    status, _, error = motif("study", "create", "A", "B", "--prompts", "p", "--out", "o", "--min-gold", "2")
    assert status == 2
    assert "min_gold 2.0: must be from 0 to 1" in " ".join(error.replace("│", " ").split())
