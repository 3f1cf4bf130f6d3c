"""A run that wrote types as module:Class goes on, and its model opens (tests/golden/run_v1)."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from base.config import load
from base.storage.folder import Folder
from models.card import ModelCard
from models.folder import load_network
from models.run_folder import read_description
from tests.conftest import ROOT
from tests.training.runs import SMALL, losses, toy_job, train_here
from training.loop.optimiser import Optimiser
from training.recipes import Saves, Train
from training.run.job import TrainJob

GOLDEN = ROOT / "tests" / "golden" / "run_v1"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = Path(shutil.copytree(GOLDEN, tmp_path / "earlier"))
    monkeypatch.chdir(copy)
    return copy


def job(out: str) -> TrainJob:
    network = replace(SMALL, block_out_channels=(4, 8), attention_head_dim=4)
    optimiser = Optimiser(lr=1e-3, clip_norm=1.0)
    return toy_job(Folder("dataset"), out, network=network, optimiser=optimiser, steps=4, saves=Saves(every=2))


def test_it_goes_on_as_one_that_never_stopped(folder: Path) -> None:
    train_here(job("run"))
    train_here(job("whole"))
    torch.testing.assert_close(
        torch.tensor(losses(folder / "run")), torch.tensor(losses(folder / "whole")), rtol=1e-4, atol=1e-6
    )
    assert len(losses(folder / "run")) == 4


def test_its_description_and_model_are_read(folder: Path) -> None:
    assert isinstance(load_config(folder / "run"), Train)
    model = folder / "run" / "checkpoints" / "step-00000002" / "model"
    assert "diffusion.model_folder:ModelCard" in (model / "motif.json").read_text()
    assert isinstance(load((model / "motif.json").read_text()), ModelCard)
    assert sum(weight.numel() for weight in load_network(model).parameters()) > 1000


def load_config(run: Path) -> object:
    from base.config import from_json

    return from_json(read_description(Folder(str(run)))["config"])
