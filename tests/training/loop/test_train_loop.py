"""Steps are read later than they are launched, but before anything is saved."""

from pathlib import Path

import pytest
import torch

from base.errors import NotFinite
from base.storage.folder import Folder
from tests.training.runs import losses, same, toy_job, train_here, weights
from training.loop.parallel import World
from training.run.checkpoints import Checkpoints
from training.run.worker import Worker


def run_ahead(data: Folder, out: Path, said: list[str], broken: bool = False) -> None:
    """A run that reads each step after the next one was launched, as on a GPU."""
    worker = Worker(toy_job(data, out), World(torch.device("cpu")), said.append)
    worker.loop.ahead = 1
    if broken:
        worker.state.optimiser.register_step_post_hook(
            lambda *_: worker.state.network.conv_out.weight.data.fill_(torch.nan)
        )
    worker.run()


def test_steps_read_late_are_the_same(toy_dataset: Folder, tmp_path: Path) -> None:
    said: list[str] = []
    train_here(toy_job(toy_dataset, tmp_path / "usual"))
    run_ahead(toy_dataset, tmp_path / "ahead", said)
    assert losses(tmp_path / "ahead") == losses(tmp_path / "usual")
    assert same(weights(tmp_path / "ahead"), weights(tmp_path / "usual"))
    assert [line.split("  loss")[0] for line in said[1:]] == [
        *("step      1 of 4", "step      2 of 4", "checkpoint step-00000002"),
        *("step      3 of 4", "step      4 of 4", "checkpoint step-00000004"),
    ]


def test_nothing_is_saved_after_a_step_that_is_not_finite(toy_dataset: Folder, tmp_path: Path) -> None:
    with pytest.raises(NotFinite, match="step 1: the loss is nan"):
        run_ahead(toy_dataset, tmp_path / "run", [], broken=True)
    assert [line[0] for line in losses(tmp_path / "run")] == [0]
    assert Checkpoints(Folder(str(tmp_path / "run")), 1).names() == []
