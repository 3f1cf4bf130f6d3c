"""A run that wrote types as module:Class goes on, and its model opens (tests/golden/run_v1)."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from base.config import dump, load, to_json
from base.storage.folder import Folder
from models.card import ModelCard
from models.folder import load_network
from models.run_folder import read_description
from tests.conftest import ROOT
from tests.training.runs import SMALL, TOY, losses, toy_job, train_here
from training.loop.optimiser import Optimiser
from training.options import Saves
from training.recipes import Train
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


def test_settings_that_came_later_are_stored_only_if_they_are_chosen() -> None:
    """So that the files of a run that chooses none are those of earlier versions, byte for byte."""
    usual = replace(TOY, hardware=replace(TOY.hardware, checkpointing=True, compile=True))
    stored = to_json(usual)
    assert list(stored["samples"]) == ["type", "every", "num", "steps", "guidance"]
    hardware = ("workers", "micro_batch", "device", "precision", "parallel", "checkpointing", "compile", "max_restarts")
    assert list(stored["hardware"]) == ["type", *hardware]
    later: dict[str, Any] = {"recompute": "cheap", "kernels": "fast", "compile_optional": True}
    chosen = replace(
        usual,
        hardware=replace(usual.hardware, **later),
        samples=replace(usual.samples, guidance_interval=(0.2, 0.8)),
    )
    assert to_json(chosen)["hardware"] == stored["hardware"] | later
    for config in (usual, chosen):
        assert load(dump(config)) == config


def load_config(run: Path) -> object:
    from base.config import from_json

    return from_json(read_description(Folder(str(run)))["config"])
