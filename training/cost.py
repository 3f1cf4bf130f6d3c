"""The cost of a training run: FLOPs and memory of its workers, from the full network on the meta device."""

import math
from dataclasses import dataclass

from models.estimate import Estimate, estimate
from models.video_model import DataShapes
from training.network import outline
from training.recipes import Train


@dataclass(frozen=True)
class RunCost:
    """What each worker computes and holds. ``passes`` are the micro-batches of a step."""

    workers: int
    passes: int
    clips_a_pass: int
    network: Estimate
    """Of one micro-batch."""
    sharded: bool

    @property
    def step_flops(self) -> int:
        """FLOPs of one worker in a step."""
        return self.network.step_flops * self.passes

    @property
    def recomputed_flops(self) -> int:
        """How many of these are computed a second time, to save memory."""
        return self.network.recomputed_flops * self.passes

    @property
    def memory(self) -> float:
        """Bytes that one worker holds on its GPU."""
        found = self.network
        share = self.workers if self.sharded else 1
        return (found.weights + found.gradients + found.optimizer + found.ema) / share + found.activations

    @property
    def checkpoint(self) -> int:
        """Bytes of a checkpoint, of what is trained: weights, optimiser moments, average, and the model folder."""
        found = self.network
        return 4 * found.trained + found.optimizer + found.ema + 4 * found.trained


def run_cost(config: Train, shapes: DataShapes) -> RunCost:
    """Count a run's cost, without allocating memory."""
    hardware = config.hardware
    workers = max(1, hardware.workers)
    at_once = min(hardware.micro_batch, config.batch // workers)
    network = outline(config.network, shapes, config.adapter)
    if hardware.recomputes is not None:
        network.enable_gradient_checkpointing(hardware.recomputes)
    found = estimate(network, shapes, at_once, hardware.precision, ema=bool(config.optimiser.ema))
    passes = math.ceil(config.batch / workers / hardware.micro_batch)
    return RunCost(workers, passes, at_once, found, hardware.parallel == "fsdp")
