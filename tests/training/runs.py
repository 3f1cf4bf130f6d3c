"""Runs small enough for tests: a network of a few thousand weights on a toy dataset."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from base.storage.folder import Folder
from models.videocrafter2.backbone import VideoCrafter2
from training.loop.optimiser import Optimiser
from training.loop.parallel import World
from training.options import Hardware, Samples, Saves
from training.recipes import Train
from training.run.checkpoints import Checkpoints
from training.run.job import TrainJob, check_resume, open_sources, write_description
from training.run.tracking import read_metrics
from training.run.worker import Worker

SMALL = VideoCrafter2(start="", block_out_channels=(8, 16), layers_per_block=1, attention_head_dim=8, norm_num_groups=4)
TOY = Train(
    network=SMALL,
    optimiser=Optimiser(lr=1e-3, clip_norm=1.0, ema=0.9),
    batch=4,
    steps=4,
    hardware=Hardware(workers=0, micro_batch=4, device="cpu", precision="float32"),
    saves=Saves(every=2),
    samples=Samples(every=0),
    trackers=(),
)


def toy_job(data: Folder, out: Path | str, **changes: Any) -> TrainJob:
    """A run of the toy on a dataset."""
    return TrainJob(replace(TOY, **changes), (data.uri,), Folder(str(out)))


def train_here(job: TrainJob) -> Worker:
    """Run a job in this process to its end."""
    sources = open_sources(job)
    check_resume(job, sources)
    write_description(job, sources)
    worker = Worker(job, World(torch.device("cpu")), lambda line: None)
    worker.run()
    return worker


LOSSES = ("step", "loss", "plain", "motion", "grad_norm")


def losses(run: Path | Folder) -> list[tuple[float, ...]]:
    return [
        tuple(line[name] for name in LOSSES)
        for line in read_metrics(Folder(str(run)) if isinstance(run, Path) else run)
    ]


def weights(run: Path) -> dict[str, torch.Tensor]:
    newest = Checkpoints(Folder(str(run)), 1).names()[-1]
    return load_file(run / "checkpoints" / newest / "training.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
