"""The gradient of a step, however it is spread over passes and workers; and that it learns."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from base.storage.folder import Folder
from tests.training.bases import LORA, write_base
from tests.training.datasets import Toy, write_toy
from tests.training.runs import TOY, losses, same, toy_job, train_here, weights
from training.loop.objective import Objective
from training.loop.parallel import World
from training.loop.train_step import TrainStep
from training.options import Samples
from training.run.job import TrainJob, open_sources, write_description
from training.run.worker import Worker


def gradients(job: TrainJob, world: World) -> dict[str, Tensor]:
    """What the optimiser is given in the first step: unclipped, without dropout (which is drawn by forward pass)."""
    worker = Worker(job, world, lambda line: None)
    for module in worker.state.network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    network = getattr(worker.state.network, "module", worker.state.network)
    found = {}

    def note(*_: object) -> None:
        for name, parameter in network.named_parameters():
            grad = parameter.grad.full_tensor() if hasattr(parameter.grad, "full_tensor") else parameter.grad
            if grad is not None:
                found[name] = grad.clone()

    worker.state.optimiser.register_step_pre_hook(note)
    options = replace(TOY.optimiser, clip_norm=math.inf)
    train_step = TrainStep(worker.state, Objective(job.config.schedule, job.config.loss), options, world, 0)
    with worker.batches() as steps:
        train_step.step(next(steps))
    return found


def largest_difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def for_two(job: TrainJob, out: Path, parallel: Any, micro_batch: int = 1) -> TrainJob:
    hardware = replace(TOY.hardware, parallel=parallel, workers=2, micro_batch=micro_batch)
    return replace(job, config=replace(job.config, hardware=hardware), out=Folder(str(out)))


def one_of_two(rank: int, job: TrainJob, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_num_threads(1)
    found = gradients(job, World(torch.device("cpu"), rank, 2))
    if rank == 0:
        torch.save(found, f"{folder}/found.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_passes_of_one_clip_add_up_to_the_gradient_of_all(toy_dataset: Folder, tmp_path: Path) -> None:
    whole = gradients(toy_job(toy_dataset, tmp_path / "a"), World(torch.device("cpu")))
    hardware = replace(TOY.hardware, micro_batch=1)
    single = gradients(toy_job(toy_dataset, tmp_path / "b", hardware=hardware), World(torch.device("cpu")))
    assert largest_difference(whole, single) < 1e-6
    assert max(float(grad.abs().max()) for grad in whole.values()) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [False, True], ids=["whole", "adapter"])
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_workers_have_the_gradient_of_one(
    toy_dataset: Folder, tmp_path: Path, parallel: str, adapter: bool
) -> None:
    job = toy_job(toy_dataset, tmp_path / "one")
    if adapter:
        job = write_base(tmp_path / "base", "unet").job(tmp_path / "one")
    whole = gradients(job, World(torch.device("cpu")))
    mp.spawn(one_of_two, (for_two(job, tmp_path / "two", parallel), str(tmp_path)), nprocs=2)
    assert largest_difference(whole, torch.load(tmp_path / "found.pt")) < 1e-6
    assert max(float(grad.abs().max()) for grad in whole.values()) > 1e-3


def run_of_two(rank: int, jobs: list[TrainJob], folder: str) -> None:
    """Each of some runs, one after the other."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet-{len(jobs)}", rank=rank, world_size=2)
    torch.set_num_threads(1)
    for job in jobs:
        if rank == 0:
            write_description(job, open_sources(job))
        dist.barrier()
        Worker(job, World(torch.device("cpu"), rank, 2), lambda line: None).run()
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_an_adapter_of_two_workers_is_saved_and_resumed(tmp_path: Path, parallel: str) -> None:
    job = write_base(tmp_path / "base", "patches").job(tmp_path / "one", replace(LORA, dropout=0.0))
    first = replace(job, config=replace(job.config, steps=2))
    jobs = [for_two(job, tmp_path / "whole", parallel, 2)]
    jobs += [for_two(part, tmp_path / "parts", parallel, 2) for part in (first, job)]
    mp.spawn(run_of_two, (jobs, str(tmp_path)), nprocs=2)
    train_here(job)
    found, alone = weights(tmp_path / "parts"), weights(tmp_path / "one")
    assert same(found, weights(tmp_path / "whole"))
    assert found.keys() == alone.keys()
    for name, tensor in alone.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-4)


def sampling_beside(rank: int, data: str, folder: str) -> None:
    """Two runs under FSDP, one that samples between its steps."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_num_threads(1)
    hardware = replace(TOY.hardware, parallel="fsdp", workers=2, micro_batch=2)
    for every in (0, 1):
        samples = Samples(every=every, num=1, steps=2)
        job = toy_job(Folder(data), f"{folder}/every-{every}", hardware=hardware, samples=samples)
        Worker(job, World(torch.device("cpu"), rank, 2), lambda line: None).run()
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_sampling_beside_changes_no_number_under_fsdp(toy_dataset: Folder, tmp_path: Path) -> None:
    mp.spawn(sampling_beside, (toy_dataset.uri, str(tmp_path)), nprocs=2)
    assert losses(tmp_path / "every-1") == losses(tmp_path / "every-0")
    assert (tmp_path / "every-1" / "samples" / "step-00000004" / "00.mp4").exists()


def eight_clips(tmp_path: Path) -> Folder:
    return write_toy(Folder(str(tmp_path / "data")), Toy(clips=8))


@pytest.mark.slow
def test_eight_clips_can_be_learnt_by_heart(tmp_path: Path) -> None:
    """The loss on a fixed draw of noise falls below a tenth: every step sees the same noise on the same clips."""
    job = toy_job(eight_clips(tmp_path), tmp_path / "run", batch=8, text_dropout=0.0, steps=400)
    worker = Worker(job, World(torch.device("cpu")), lambda line: None)
    options = replace(TOY.optimiser, lr=3e-3)
    train_step = TrainStep(worker.state, Objective(job.config.schedule, job.config.loss), options, worker.world, 0)
    with worker.batches() as steps:
        data = next(steps)
    first = train_step.step(data).loss
    last = first
    for _ in range(400):
        last = min(last, train_step.step(data).loss)
        if last < first / 10:
            break
    assert last < first / 10, (first, last)
