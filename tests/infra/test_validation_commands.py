"""``motif validate`` and ``motif compare`` as a user meets them."""

import json
from pathlib import Path

import pytest

from base.storage.folder import Folder
from tests.infra.conftest import Motif
from tests.training.datasets import Toy, write_toy
from tests.training.runs import toy_job, train_here


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Datasets ``data`` and ``held``, an empty view of the latter, and runs ``a`` and ``b``."""
    folder = tmp_path_factory.mktemp("room")
    data = write_toy(Folder(str(folder / "data")))
    write_toy(Folder(str(folder / "held")), Toy(clips=4, first=100))
    view = {"dataset": str(folder / "held"), "artifacts": ["latents", "heatmaps", "text"], "ids": []}
    (folder / "empty.json").write_text(json.dumps(view))
    train_here(toy_job(data, folder / "a", steps=1))
    train_here(toy_job(data, folder / "b", steps=2))
    return folder


def test_validate(motif: Motif, room: Path, tmp_path: Path) -> None:
    settings = ("--timesteps", 100, 900, "--resamples", 20, "--device", "cpu", "--out", tmp_path / "out")
    status, out, error = motif("validate", room / "a", room / "b", "--data", room / "held", *settings)
    assert status == 0
    assert out.count("\n") == 1
    told = json.loads(out)
    assert [run["name"] for run in told["runs"]] == ["a", "b"]
    assert [losses["timestep"] for losses in told["runs"][1]["by_timestep"]] == [100, 900]
    assert json.loads((tmp_path / "out" / "validation.json").read_text()) == told
    assert (tmp_path / "out" / "validation.png").read_bytes().startswith(b"\x89PNG")
    assert "4 clips" in error
    assert "- first" in error


def test_compare(motif: Motif, room: Path, tmp_path: Path) -> None:
    status, out, error = motif("compare", room / "a", room / "b", "--out", tmp_path / "out")
    assert status == 0
    assert out.count("\n") == 1
    assert json.loads(out)["settings"] == {"steps": [1, 2]}
    assert json.loads((tmp_path / "out" / "compare.json").read_text()) == json.loads(out)
    assert (tmp_path / "out" / "losses.png").read_bytes().startswith(b"\x89PNG")
    assert "identical for 1 step" in error


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["validate"], "RUN is missing"),
        (["validate", "a"], "--data is missing"),
        (["validate", "none", "--data", "held"], "none: neither a run nor a model"),
        (["validate", "a", "--data", "none"], "none is not a dataset"),
        (["validate", "a", "--data", "data"], "a was trained on 12 of its 12 clips"),
        (["validate", "a", "--data", "empty.json"], "no clip is left"),
        (["validate", "a", "--data", "held", "--threshold", "2"], "threshold 2.0: must be from 0"),
        (["compare", "a"], "name at least two runs"),
        (["compare", "a", "none"], "none: not a run"),
        (["compare", "a", "b", "--window", "0"], "--window 0: must be at least 1 step"),
    ],
)
def test_a_mistake_gets_one_line(
    motif: Motif, room: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], said: str
) -> None:
    monkeypatch.chdir(room)
    status, out, error = motif(*args)
    assert (status, out) == (2, "")
    assert error.startswith("motif: ")
    assert said in error
    assert error.count("\n") == 1
