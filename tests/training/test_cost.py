"""What a run costs, beside what one really leaves."""

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from base.storage.folder import Folder
from tests.training.runs import TOY, toy_job, train_here
from training.cost import run_cost
from training.loop.optimiser import Optimiser
from training.recipes import Hardware
from training.run.job import open_sources


@pytest.mark.parametrize("ema", [0.9, 0.0])
def test_a_checkpoint_has_as_many_bytes_as_estimated(toy_dataset: Folder, tmp_path: Path, ema: float) -> None:
    job = toy_job(toy_dataset, tmp_path, steps=1, optimiser=Optimiser(ema=ema))
    train_here(job)
    cost = run_cost(job.config, open_sources(job)[0].facts.shapes)
    files = list((tmp_path / "checkpoints").rglob("*.safetensors"))
    assert len(files) == 2
    stored = sum(tensor.nbytes for path in files for tensor in load_file(path).values())
    assert stored == pytest.approx(cost.checkpoint, rel=0.01)  # AdamW also counts the steps of each tensor


def test_workers_share_a_step(toy_dataset: Folder) -> None:
    shapes = open_sources(toy_job(toy_dataset, ""))[0].facts.shapes
    alone = run_cost(TOY, shapes)
    two = run_cost(replace(TOY, hardware=Hardware(workers=2, micro_batch=1)), shapes)
    assert (alone.passes, alone.clips_a_pass, two.passes, two.clips_a_pass) == (1, 4, 2, 1)
    assert two.step_flops * 2 == alone.step_flops
    sharded = run_cost(replace(TOY, hardware=Hardware(workers=2, micro_batch=1, parallel="fsdp")), shapes)
    held = 20 * sharded.network.parameters
    assert two.memory - sharded.memory == held / 2
