"""Checks a run and estimates data, steps, memory and time without starting it. Uses no GPU."""

import math
from collections.abc import Callable, Sequence

import torch

from models.estimate import Estimate, estimate
from training.data.source import Source, SourceFacts
from training.network import PAPER, check_start
from training.recipes import Train
from training.run.job import TrainJob, check_resume, open_sources
from training.run.tracking import check_trackers

_GIB = 2**30
# Dense bf16 FLOP/s of an A100, and a realistic utilisation for a network of convolutions and attention.
_A100_FLOPS = 312e12
_MFU = 0.4


def dry_run(job: TrainJob, report: Callable[[str], None]) -> None:
    """Check a job as :func:`training.run.launch.launch` would and report its cost; data may be left out."""
    job = job.resolved().as_begun()
    config = job.config
    facts = PAPER
    check_trackers(config.trackers)
    if job.data:
        sources = open_sources(job)
        facts = sources[0].facts
        check_start(config.network, facts)
        done = check_resume(job, sources).step if job.out.uri else 0
        for line in _data_lines(config, sources, done):
            report(line)
    else:
        report("data       none given: estimates are for the paper's data, 16 frames of 320 x 512")
    for line in estimate_lines(config, facts):
        report(line)


def _data_lines(config: Train, sources: Sequence[Source], done: int) -> list[str]:
    lines = [f"data       {source.uri}: {len(source):,} clips, latents {source.facts.shape}" for source in sources]
    lines += [f"left out   {lack}" for source in sources if (lack := source.lack())]
    clips = sum(len(source) for source in sources)
    seen = config.batch * (config.steps - done)
    lines.append(f"steps      {done:,} done, {config.steps - done:,} to do: {seen:,} clips, {seen / clips:.2f} epochs")
    return lines


def estimate_lines(config: Train, facts: SourceFacts) -> list[str]:
    """Memory of one worker and time of the whole run, in words."""
    found = measure(config, facts)
    hardware = config.hardware
    workers = max(1, hardware.workers)
    passes = math.ceil(config.batch / workers / hardware.micro_batch)
    flops = found.step_flops * passes
    seconds = flops / (_A100_FLOPS * _MFU)
    hours = seconds * config.steps / 3600
    speed = f"{seconds:.2f} s per step, {hours:,.1f} h for {config.steps:,} steps on A100s at {_MFU:.0%} utilisation"
    share = workers if hardware.parallel == "fsdp" else 1
    held = (found.weights + found.gradients + found.optimizer + found.ema) / share + found.activations
    kept = "recomputed in the backward pass" if hardware.checkpointing else "kept"
    return [
        f"network    {found.parameters / 1e6:,.1f} M parameters, {config.network.name}, {config.network.summary()}",
        f"workers    {workers}, each {passes} x {_at_once(config)} clips per step, {hardware.precision}",
        f"memory     {held / _GIB:,.1f} GiB per worker: weights {found.weights / _GIB:,.1f}, gradients "
        f"{found.gradients / _GIB:,.1f}, AdamW {found.optimizer / _GIB:,.1f}, average {found.ema / _GIB:,.1f}, "
        f"activations {found.activations / _GIB:,.1f} ({kept})",
        f"compute    {flops / 1e12:,.1f} TFLOP per step and worker"
        + (f": {speed}" if hardware.precision == "bfloat16" else ""),
    ]


def _at_once(config: Train) -> int:
    """Clips in one forward pass of a worker."""
    return min(config.hardware.micro_batch, config.batch // max(1, config.hardware.workers))


def measure(config: Train, facts: SourceFacts) -> Estimate:
    """Estimate with the full network on the meta device, without allocating memory."""
    with torch.device("meta"):
        network = config.network.new(facts.shapes)
    if config.hardware.checkpointing:
        network.enable_gradient_checkpointing()
    return estimate(network, facts.shapes, _at_once(config), config.hardware.precision, ema=bool(config.optimiser.ema))
