"""Checks a run and estimates data, steps, memory and time without starting it. Uses no GPU."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from base.gpus import GPUS, UTILISATION, Gpu
from models.video_model import Backbone, Recompute
from training.cost import RunCost, run_cost
from training.data.source import Source, SourceFacts
from training.network import PAPER, check_start
from training.recipes import Train
from training.run.job import TrainJob, check_resume, open_sources
from training.run.tracking import check_trackers

_GIB = 2**30
_SPARE = 1.1  # a real run takes some ten percent more than its tensors
# From the fastest to the one of least memory.
_WAYS: dict[Recompute | None, str] = {
    None: "--hardware.no-checkpointing",
    "cheap": "--hardware.checkpointing --hardware.recompute cheap",
    "all": "--hardware.checkpointing --hardware.recompute all",
}


def dry_run(job: TrainJob, report: Callable[[str], None], gpu: Gpu = GPUS["A100"]) -> None:
    """Check a job as :func:`training.run.launch.launch` would and report its cost on a kind of GPU; data may be left
    out.
    """
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
        facts, of = _facts_without_data(config.network)
        report(f"data       none given: estimates are for {of}")
    for line in (*estimate_lines(config, facts, gpu), *memory_lines(config, facts, gpu)):
        report(line)


def _facts_without_data(network: Backbone) -> tuple[SourceFacts, str]:
    """What an estimate is for without data, and in words: the usual data of the network, or the paper's."""
    usual = network.usual_shapes
    if usual is None:
        return PAPER, "the paper's data, 16 frames of 320 x 512"
    _, frames, height, width = usual.latent
    facts = replace(PAPER, shape=usual.latent, text_shape=usual.text, image_shape=usual.image)
    return facts, f"clips of {frames} latents of {height} x {width} cells"


def _data_lines(config: Train, sources: Sequence[Source], done: int) -> list[str]:
    lines = [f"data       {source.uri}: {len(source):,} clips, latents {source.facts.shape}" for source in sources]
    lines += [f"left out   {lack}" for source in sources if (lack := source.lack())]
    clips = sum(len(source) for source in sources)
    seen = config.batch * (config.steps - done)
    lines.append(f"steps      {done:,} done, {config.steps - done:,} to do: {seen:,} clips, {seen / clips:.2f} epochs")
    return lines


def estimate_lines(config: Train, facts: SourceFacts, gpu: Gpu = GPUS["A100"]) -> list[str]:
    """Memory of one worker and time of the whole run, in words."""
    cost = run_cost(config, facts.shapes)
    found = cost.network
    hardware = config.hardware
    kept = {None: "kept", "cheap": "the cheap ones recomputed", "all": "recomputed in the backward pass"}
    return [
        f"network    {found.parameters / 1e6:,.1f} M parameters, {config.network.name}, {config.network.summary()}",
        *([] if config.adapter is None else [f"trained    {found.trained / 1e6:,.1f} M, {config.adapter.summary()}"]),
        f"workers    {cost.workers}, each {cost.passes} x {cost.clips_a_pass} clips per step, {hardware.precision}",
        f"memory     {cost.memory / _GIB:,.1f} GiB per worker: weights {found.weights / _GIB:,.1f}, gradients "
        f"{found.gradients / _GIB:,.1f}, AdamW {found.optimizer / _GIB:,.1f}, average {found.ema / _GIB:,.1f}, "
        f"activations {found.activations / _GIB:,.1f} ({kept[hardware.recomputes]})",
        f"compute    {cost.step_flops / 1e12:,.1f} TFLOP per step and worker{_speed(config, cost, gpu)}",
    ]


def _speed(config: Train, cost: RunCost, gpu: Gpu) -> str:
    """The time of a step and of the run, if the GPU's speed in the precision is known."""
    peak = gpu.peak(config.hardware.precision)
    if peak is None:
        return ""
    seconds = cost.step_flops / (peak * UTILISATION)
    hours = seconds * config.steps / 3600
    timing = f"{seconds:.2f} s per step, {hours:,.1f} h for {config.steps:,} steps"
    return f": {timing} on {gpu.name}s at {UTILISATION:.0%} utilisation"


def memory_lines(config: Train, facts: SourceFacts, gpu: Gpu) -> list[str]:
    """What each way of gradient checkpointing takes, whether it fits the GPU, and which is the fastest that does."""
    found = {way: run_cost(_with(config, way), facts.shapes) for way in _WAYS}
    fitting = [way for way, cost in found.items() if _SPARE * cost.memory <= gpu.memory]
    clips = next(iter(found.values())).clips_a_pass
    lines = [f"fits       {gpu.name} with {gpu.memory / _GIB:.0f} GiB, {clips} clips at a time, and a tenth to spare:"]
    for way, cost in found.items():
        fits = "fits" if way in fitting else "does not"
        twice = f", {cost.recomputed_flops / 1e12:,.1f} of them twice" if cost.recomputed_flops else ""
        best = ", the fastest that fits" if way in fitting[:1] else ""
        taken = f"{cost.memory / _GIB:,.1f} GiB, {cost.step_flops / 1e12:,.1f} TFLOP{twice}"
        lines.append(f"           {fits:8}   {_WAYS[way]}: {taken}{best}")
    if not fitting:
        less = "; so may a smaller --hardware.micro-batch" if clips > 1 else ""
        lines.append(f"           none fits: another --gpu may{less}")
    return lines


def _with(config: Train, way: Recompute | None) -> Train:
    hardware = replace(config.hardware, checkpointing=way is not None, recompute=way or "all")
    return replace(config, hardware=hardware)
