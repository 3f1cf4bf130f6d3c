"""Launches: their record, and runs on Ray Train, with two workers of which one is killed."""

import json
import os
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from base.errors import InputError, NotFinite
from base.storage.folder import Folder
from tests.training.runs import TOY, losses, same, toy_job, weights
from training.loop.optimiser import Optimiser
from training.options import Saves
from training.run.launch import launch
from training.run.tracking import read_metrics

TWO = replace(TOY.hardware, workers=2, micro_batch=2)


def train_on_ray(data: Folder, out: Path, **changes: Any) -> list[str]:
    said: list[str] = []
    launch(toy_job(data, out, hardware=TWO, **changes), said.append)
    return said


def kill_a_worker(run: Path, after: int, killed: list[int]) -> None:
    """Kill -9 one worker of Ray Train once ``after`` steps are told of."""
    while not killed:
        if (run / "metrics.jsonl").exists() and len(read_metrics(Folder(str(run)))) >= after:
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit() and "RayTrainWorker" in _command(entry):
                    os.kill(int(entry.name), signal.SIGKILL)
                    killed.append(int(entry.name))
                    return
        time.sleep(0.01)  # between two looks


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_worker_changes_no_number(
    ray_cluster: None, toy_dataset: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With paths relative to the user's folder, which is not the workers'."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(toy_dataset.path)
    data = Folder("data")
    changes: dict[str, Any] = {"steps": 30, "saves": Saves(every=7), "batch": 4}
    train_on_ray(data, Path("whole"), **changes)
    killed: list[int] = []
    killer = threading.Thread(target=kill_a_worker, args=(tmp_path / "cut", 10, killed), daemon=True)
    killer.start()
    said = train_on_ray(data, Path("cut"), **changes)
    killer.join(timeout=1)
    assert killed
    assert any(line.startswith("resuming from step") for line in said)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert same(weights(tmp_path / "cut"), weights(tmp_path / "whole"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_error_of_ours_ends_the_run_as_itself(ray_cluster: None, toy_dataset: Folder, tmp_path: Path) -> None:
    with pytest.raises(NotFinite, match="the loss is"):
        train_on_ray(toy_dataset, tmp_path, steps=60, optimiser=Optimiser(lr=1e30, ema=0.0))
    told = read_metrics(Folder(str(tmp_path)))
    assert told[-1]["step"] == len(told) - 1


def test_more_workers_than_the_cluster_has_are_refused(ray_cluster: None, toy_dataset: Folder, tmp_path: Path) -> None:
    job = toy_job(toy_dataset, tmp_path, hardware=replace(TWO, workers=4))
    with pytest.raises(InputError, match=r"workers 4: the cluster has 2 CPUs"):
        launch(job, lambda line: None)


def test_each_launch_is_recorded(toy_dataset: Folder, tmp_path: Path) -> None:
    """A run is resumed by whatever command; the record has both, and starts that have nothing to do leave none."""
    first, again = toy_job(toy_dataset, tmp_path / "run", steps=2), toy_job(toy_dataset, tmp_path / "run", steps=3)
    launch(replace(first, command="motif train toy --steps 2"), lambda line: None)
    launch(again, lambda line: None)
    launch(again, lambda line: None)
    lines = [json.loads(line) for line in (tmp_path / "run" / "launches.jsonl").read_text().splitlines()]
    assert [(line["step"], line["command"]) for line in lines] == [(0, "motif train toy --steps 2"), (2, None)]
    assert all(torch.__version__.startswith(line["software"]["torch"]) for line in lines)
    begun, resumed = (datetime.fromisoformat(line["time"]) for line in lines)
    assert begun <= resumed <= datetime.now(UTC)
    assert [line["step"] for line in read_metrics(Folder(str(tmp_path / "run")))] == [0, 1, 2]


@pytest.mark.parametrize("line", ['{"step": 1, "lo', "[]", '{"step": 1}', '{"step": 1, "loss": null}', "\xff"])
def test_a_damaged_line_of_metrics_is_named(tmp_path: Path, line: str) -> None:
    good = '{"step": 0, "loss": 1.5}'
    (tmp_path / "metrics.jsonl").write_text(f"{good}\n{line}\n{good}\n", encoding="latin-1")
    with pytest.raises(InputError, match=r"metrics.jsonl: line 2 is damaged, or of another version"):
        read_metrics(Folder(str(tmp_path)))
