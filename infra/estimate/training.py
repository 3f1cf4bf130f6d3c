"""Rows for ``motif train``: memory, time and checkpoints of a recipe's run."""

from collections.abc import Iterator
from dataclasses import replace

from base.gpus import Cost, Gpu
from infra.estimate import measured
from infra.estimate.rows import Row, counted_hours, number
from models.video_model import DataShapes
from training.cost import RunCost, run_cost
from training.recipes import Train, sprites

_PART = "train"


def training_rows(config: Train, shapes: DataShapes, gpu: Gpu, utilisation: float) -> Iterator[Row]:
    """The run's steps, without sampling and validation, and its checkpoints."""
    cost = run_cost(config, shapes)
    if replace(config, steps=sprites().steps) == sprites():
        step = measured.SPRITES_STEP_S
        hours = measured.CORES * step.value * config.steps / 3600
        yield Row(_PART, f"{config.steps:,} steps", "CPU-hours", hours, step.how)
    else:
        less = "" if cost.memory <= gpu.memory else "only "
        memory = f"counted: {cost.clips_a_pass} clips at a time; {gpu.name} has {less}{number(gpu.memory / 1e9)} GB"
        yield Row(_PART, "memory per GPU", "GB of memory", cost.memory / 1e9, memory)
        yield _steps(config, cost, gpu, utilisation)
    keep = min(config.saves.keep, -(-config.steps // config.saves.every))
    how = f"counted: the last {keep}, {number(cost.checkpoint / 1e9)} GB each"
    yield Row(_PART, "checkpoints", "GB", keep * cost.checkpoint / 1e9, how)


def _steps(config: Train, cost: RunCost, gpu: Gpu, utilisation: float) -> Row:
    what = f"{config.steps:,} steps of {config.batch:,} clips"
    if cost.memory > gpu.memory:
        how = f"not known: a step does not fit the memory of {gpu.name}; a smaller hardware.micro_batch may"
        return Row(_PART, what, "GPU-hours", None, how)
    computed = Cost(cost.step_flops, 0, config.hardware.precision)
    hours, how = counted_hours(computed, gpu, utilisation, "step and GPU" if cost.workers > 1 else "step")
    if hours is None:
        return Row(_PART, what, "GPU-hours", None, how)
    hours *= config.steps
    return Row(_PART, what, "GPU-hours", hours * cost.workers, f"{how}; {number(hours)} h on {_gpus(cost.workers)}")


def _gpus(count: int) -> str:
    return f"{count} GPUs" if count > 1 else "1 GPU"
