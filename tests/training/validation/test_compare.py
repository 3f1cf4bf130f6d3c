"""Runs side by side, on real runs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from base.errors import InputError
from base.storage.folder import Folder
from diffusion.frame_difference import FrameDifference
from diffusion.motion_focal import MotionFocal
from infra.commands.compare import main
from tests.training.runs import TOY, toy_job, train_here
from training.validation.compare import compare, curves_figure, smooth


@pytest.fixture(scope="module")
def runs(toy_dataset: Folder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``base``; ``longer`` is the same for more steps, ``slower`` has another rate, ``plain`` no motion loss."""
    folder = tmp_path_factory.mktemp("runs")
    train_here(toy_job(toy_dataset, folder / "base"))
    train_here(toy_job(toy_dataset, folder / "longer", steps=6))
    train_here(toy_job(toy_dataset, folder / "slower", optimiser=replace(TOY.optimiser, lr=1e-4)))
    train_here(toy_job(toy_dataset, folder / "plain", loss=MotionFocal(weight=0.0)))
    return folder


def uris(folder: Path, *names: str) -> list[str]:
    return [str(folder / name) for name in names]


def test_settings_that_differ(runs: Path) -> None:
    assert compare(uris(runs, "base", "base")).settings == {}
    found = compare(uris(runs, "base", "longer", "slower", "plain"))
    assert found.settings == {
        "loss.weight": (1.0, 1.0, 1.0, 0.0),
        "optimiser.lr": (1e-3, 1e-3, 1e-4, 1e-3),
        "steps": (4, 6, 4, 4),
    }


def test_the_step_at_which_losses_part(runs: Path) -> None:
    found = compare(uris(runs, "base", "longer", "slower", "plain"))
    assert [run.first_difference for run in found.runs] == [None, None, 1, 0]
    assert [run.shared_steps for run in found.runs] == [4, 4, 4, 4]


def test_losses_and_speed(runs: Path, toy_dataset: Folder) -> None:
    found = compare(uris(runs, "base", "longer"), window=3)
    lines = [json.loads(line) for line in (runs / "longer" / "metrics.jsonl").read_text().splitlines()]
    longer = found.runs[1]
    assert (longer.name, longer.steps, longer.data) == ("longer", 6, {toy_dataset.uri: 12})
    assert longer.last == {term: lines[-1][term] for term in ("loss", "plain", "motion")}
    assert longer.smoothed["plain"] == pytest.approx(np.mean([line["plain"] for line in lines[-3:]]))
    assert longer.clips_per_s == pytest.approx(np.median([line["clips_per_s"] for line in lines]))
    assert list(found.curves[1].step) == list(range(6))
    assert json.loads(json.dumps(found.to_json()))["runs"][1]["shared_steps"] == 4


def test_smoothing_is_the_mean_of_what_came_before() -> None:
    assert list(smooth(np.array([1.0, 3.0, 5.0, 7.0]), 2)) == [1, 2, 4, 6]
    assert list(smooth(np.array([1.0, 3.0]), 10)) == [1, 2]


def test_the_window_follows_the_shortest_run(runs: Path) -> None:
    assert compare(uris(runs, "base", "longer")).window == 1
    assert compare(uris(runs, "base", "longer"), window=2).window == 2


@pytest.mark.parametrize("window", [1, 3])
def test_curves_are_a_picture(runs: Path, window: int) -> None:
    assert curves_figure(compare(uris(runs, "base", "plain"), window=window)).startswith(b"\x89PNG")


def test_folders_that_hold_no_run(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: not a run"):
        compare(uris(runs, "base", "nowhere"))
    (tmp_path / "config.json").write_text((runs / "base" / "config.json").read_text())
    with pytest.raises(InputError, match=r"metrics.jsonl has no steps yet"):
        compare([*uris(runs, "base"), str(tmp_path)])


def test_runs_of_different_weightings(toy_dataset: Folder, tmp_path: Path) -> None:
    """Terms that a run has not are left out of its column and its lines."""
    train_here(toy_job(toy_dataset, tmp_path / "focal"))
    train_here(toy_job(toy_dataset, tmp_path / "steps", loss=FrameDifference()))
    places = [str(tmp_path / "focal"), str(tmp_path / "steps")]
    found = compare(places)
    assert [list(run.last) for run in found.runs] == [["loss", "plain", "motion"], ["loss", "plain", "difference"]]
    assert curves_figure(found).startswith(b"\x89PNG")
    main(places)
