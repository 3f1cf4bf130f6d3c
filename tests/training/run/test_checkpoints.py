"""Checkpoints are complete or absent, whatever the disk does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from base.errors import Incomplete, InputError, StorageError
from base.storage.folder import Folder
from dataset.lock import WriteLock
from tests.conftest import ROOT
from tests.training.runs import losses, same, toy_job, train_here, weights
from training.loop.optimiser import Optimiser
from training.options import Saves
from training.run.checkpoints import Checkpoints
from training.run.launch import launch

# The file size limit stands for a full disk: root ignores permissions, but not this.
LIMITED = """
import resource, signal, sys
import torch
from base.errors import StorageError
from base.storage.folder import Folder
from training.run.launch import launch
from training.options import Saves
from tests.training.runs import toy_job

torch.set_num_threads(1)  # as in this test run: another number rounds otherwise
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
job = toy_job(Folder(sys.argv[1]), sys.argv[2], steps=4, saves=Saves(every=1))
def say(line):
    if "step      2 of" in line:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
try:
    launch(job, say)
except StorageError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(toy_dataset: Folder, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-c", LIMITED, toy_dataset.uri, str(run)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == StorageError.exit_code, done.stderr
    assert str(run) in done.stdout
    assert len(done.stdout.strip().splitlines()) == 1
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000001"]
    launch(toy_job(toy_dataset, run, steps=4), lambda line: None)  # with room again it goes on
    train_here(toy_job(toy_dataset, tmp_path / "whole", steps=4))
    assert losses(run) == losses(tmp_path / "whole")
    assert same(weights(run), weights(tmp_path / "whole"))


def test_a_folder_without_progress_is_no_checkpoint(toy_dataset: Folder, tmp_path: Path) -> None:
    train_here(toy_job(toy_dataset, tmp_path))
    checkpoints = Checkpoints(Folder(str(tmp_path)), 3)
    newest = tmp_path / "checkpoints" / checkpoints.names()[-1]
    (newest / "progress.json").unlink()
    progress = checkpoints.latest()
    assert progress is not None
    assert progress.step == 2


def test_a_torn_checkpoint_is_named_with_the_remedy(toy_dataset: Folder, tmp_path: Path) -> None:
    train_here(toy_job(toy_dataset, tmp_path))
    file = tmp_path / "checkpoints" / "step-00000004" / "training.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(StorageError, match=r"step-00000004.*Delete this checkpoint"):
        train_here(toy_job(toy_dataset, tmp_path, steps=6))


def test_another_average_is_refused(toy_dataset: Folder, tmp_path: Path) -> None:
    train_here(toy_job(toy_dataset, tmp_path))
    with pytest.raises(InputError, match=r"optimiser.ema 0.9, not 0"):
        train_here(toy_job(toy_dataset, tmp_path, steps=6, optimiser=Optimiser(lr=1e-3, clip_norm=1.0, ema=0.0)))


def test_without_an_average_the_weights_themselves_are_the_model(toy_dataset: Folder, tmp_path: Path) -> None:
    optimiser = Optimiser(lr=1e-3, ema=0.0)
    for steps in (2, 3):
        train_here(toy_job(toy_dataset, tmp_path / "cut", steps=steps, optimiser=optimiser, saves=Saves(every=1)))
    train_here(toy_job(toy_dataset, tmp_path / "whole", steps=3, optimiser=optimiser))
    assert same(weights(tmp_path / "cut"), weights(tmp_path / "whole"))
    assert not any(name.startswith("ema.") for name in weights(tmp_path / "cut"))


def test_two_runs_do_not_write_to_one_folder(toy_dataset: Folder, tmp_path: Path) -> None:
    with (
        WriteLock(Folder(str(tmp_path)), "run's folder"),
        pytest.raises(InputError, match="writing to this run's folder"),
    ):
        launch(toy_job(toy_dataset, tmp_path), lambda line: None)


def test_a_run_that_lost_its_lock_saves_nothing(toy_dataset: Folder, tmp_path: Path) -> None:
    def report(line: str) -> None:
        if "step      3 of" in line:
            (tmp_path / "runs" / "lock.json").unlink()

    with pytest.raises(Incomplete, match="lost its lock of the run's folder"):
        launch(toy_job(toy_dataset, tmp_path), report)
    assert Checkpoints(Folder(str(tmp_path)), 3).names() == ["step-00000002"]


def test_progress_tells_the_cursor(toy_dataset: Folder, tmp_path: Path) -> None:
    train_here(toy_job(toy_dataset, tmp_path))
    told = json.loads((tmp_path / "checkpoints" / "step-00000004" / "progress.json").read_text())
    assert told == {"step": 4, "cursor": [16], "epoch": pytest.approx(16 / 12)}
