"""Checks a run and estimates data, steps, memory and time without starting it. Uses no GPU."""

from collections.abc import Callable, Sequence

from base.gpus import GPUS, UTILISATION
from training.cost import run_cost
from training.data.source import Source, SourceFacts
from training.network import PAPER, check_start
from training.recipes import Train
from training.run.job import TrainJob, check_resume, open_sources
from training.run.tracking import check_trackers

_GIB = 2**30


def dry_run(job: TrainJob, report: Callable[[str], None]) -> None:
    """Check a job as :func:`training.run.launch.launch` would and report its cost; data may be left out."""
    job = job.resolved().as_begun()
    config = job.config
    facts = PAPER
    check_trackers(config.trackers)
    if job.data:
        sources = open_sources(job)
        facts = sources[0].facts
        check_start(config.network, facts, config.adapter)
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
    cost = run_cost(config, facts.shapes)
    found = cost.network
    hardware = config.hardware
    seconds = cost.step_flops / (GPUS["A100"].flops * UTILISATION)
    hours = seconds * config.steps / 3600
    timing = f"{seconds:.2f} s per step, {hours:,.1f} h for {config.steps:,} steps"
    speed = f"{timing} on A100s at {UTILISATION:.0%} utilisation"
    kept = "recomputed in the backward pass" if hardware.checkpointing else "kept"
    return [
        f"network    {found.parameters / 1e6:,.1f} M parameters, {config.network.name}, {config.network.summary()}",
        *([] if config.adapter is None else [f"trained    {found.trained / 1e6:,.1f} M, {config.adapter.summary()}"]),
        f"workers    {cost.workers}, each {cost.passes} x {cost.clips_a_pass} clips per step, {hardware.precision}",
        f"memory     {cost.memory / _GIB:,.1f} GiB per worker: weights {found.weights / _GIB:,.1f}, gradients "
        f"{found.gradients / _GIB:,.1f}, AdamW {found.optimizer / _GIB:,.1f}, average {found.ema / _GIB:,.1f}, "
        f"activations {found.activations / _GIB:,.1f} ({kept})",
        f"compute    {cost.step_flops / 1e12:,.1f} TFLOP per step and worker"
        + (f": {speed}" if hardware.precision == "bfloat16" else ""),
    ]
