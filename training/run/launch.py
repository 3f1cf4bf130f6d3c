"""Launches a run after checks, in this process or on Ray Train workers."""

from collections.abc import Callable
from dataclasses import replace

import torch

from base.device import find_device
from dataset.lock import WriteLock
from training.loop.parallel import World
from training.loop.train_loop import Progress
from training.network import check_start
from training.run.checkpoints import Checkpoints
from training.run.job import TrainJob, check_resume, open_sources, record_launch, write_description
from training.run.tracking import check_trackers
from training.run.worker import Worker


def launch(job: TrainJob, report: Callable[[str], None]) -> Progress:
    """Check a job, then run or resume it to its last step.

    A KeyboardInterrupt of a run in this process carries a message with its last step and last checkpoint.
    """
    job = job.resolved().as_begun()
    sources = open_sources(job)
    check_trackers(job.config.trackers)
    device = _device(job)
    check_start(job.config.network, sources[0].facts, job.config.adapter)
    progress = check_resume(job, sources)
    if progress.step >= job.config.steps:
        report(f"{job.out.uri} is already at step {progress.step}; give a larger --steps to continue.")
        return progress
    for lack in filter(None, (source.lack() for source in sources)):
        report(lack)
    with WriteLock(job.out, "run's folder", report) as lock:
        job = replace(job, fence=lock.fence)
        write_description(job, sources)
        record_launch(job, progress.step)
        if job.config.hardware.workers == 0:
            return _here(Worker(job, World(device), report, sources))
        from training.run.ray_train import train_on_ray  # only here: the rest works without Ray

        train_on_ray(job, report)
    done = Checkpoints(job.out, job.config.saves.keep).latest()
    assert done is not None, "the last step saves"
    return done


def _here(worker: Worker) -> Progress:
    try:
        return worker.run()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(worker.stopped()) from None


def _device(job: TrainJob) -> torch.device:
    """The device of this process; Ray Train workers find their own."""
    hardware = job.config.hardware
    theirs = hardware.workers and hardware.device == "cuda"
    return find_device("auto" if theirs else hardware.device, "hardware.device")
