"""Runs that start from a model in an object store: the numbers are those of a run from the model's folder."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from base.errors import WeightsError
from base.storage.folder import Folder
from models.adapters.lora import Lora
from models.folder import load_card, load_network
from tests.training.bases import LORA, BaseModel, write_base
from tests.training.runs import losses, same, weights
from training.run.job import TrainJob
from training.run.launch import launch


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    """Not to be written to."""
    return write_base(tmp_path_factory.mktemp("base"), "patches")


def job_from(start: str, base: BaseModel, out: Path, adapter: Lora | None, steps: int = 4) -> TrainJob:
    job = base.job(out, adapter, steps=steps)
    return replace(job, config=replace(job.config, network=replace(job.config.network, start=start)))


def upload(folder: Path, target: str) -> str:
    for path in folder.rglob("*"):
        if path.is_file():
            inside = path.relative_to(folder).parent.as_posix()
            Folder(target if inside == "." else f"{target}/{inside}").write(path.name, path.read_bytes())
    return target


@pytest.mark.parametrize("adapter", [None, LORA], ids=["all weights", "adapter"])
def test_a_run_from_a_model_on_s3(base: BaseModel, bucket: str, tmp_path: Path, adapter: Lora | None) -> None:
    """Interrupted and resumed; the model of an adapter then finds its base there, too."""
    start = upload(base.folder, f"{bucket}/models/base")
    said: list[str] = []
    launch(job_from(str(base.folder), base, tmp_path / "here", adapter), said.append)
    for steps in (2, 4):
        launch(job_from(start, base, tmp_path / "there", adapter, steps), said.append)
    assert any(line.startswith("resuming from step 2") for line in said)
    assert losses(tmp_path / "there") == losses(tmp_path / "here")
    assert same(weights(tmp_path / "there"), weights(tmp_path / "here"))
    here, there = (tmp_path / name / "checkpoints/step-00000004/model" for name in ("here", "there"))
    assert load_card(there).facts.origin == start
    tensors = load_network(here).state_dict()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in load_network(there).state_dict().items())


def test_a_model_that_is_not_there(base: BaseModel, bucket: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=rf"^model folder: {bucket}/nothing has no motif\.json\. Give the folder"):
        launch(job_from(f"{bucket}/nothing", base, tmp_path, None), lambda line: None)
    assert not list(tmp_path.iterdir())
