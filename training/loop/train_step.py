"""The training loop: data, forward, backward, a check, a step; and what happens every so many steps.

Five files tell the rest: data/loader.py (which clips), objective.py (which loss), checkpoints.py (what is kept),
parallel.py (many workers), tracking.py (what is told).
"""

from dataclasses import dataclass

import torch
from torch import nn

from base.errors import NotFinite
from training.data.draws import layer_seed
from training.data.loader import StepData
from training.loop.objective import Objective
from training.loop.optimiser import Ema, Optimiser
from training.loop.parallel import World, gradients_stay_here


@dataclass
class Trainee:
    """What a step changes: the network (wrapped for its world), its optimiser, the moving average."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    ema: Ema | None


@dataclass(frozen=True)
class StepResult:
    """What a step came to: means over the global batch, and the norm of the gradient before clipping."""

    loss: float
    plain: float
    motion: float
    grad_norm: float
    lr: float


@dataclass(frozen=True)
class Stepper:
    """Computes steps. ``half`` runs the network in bfloat16 where that is safe (autocast)."""

    trainee: Trainee
    objective: Objective
    options: Optimiser
    world: World
    seed: int
    half: bool = False

    def step(self, data: StepData) -> StepResult:
        """One step on this worker's data. Raises NotFinite, with nothing changed, where it comes to no number."""
        network, optimiser = self.trainee.network, self.trainee.optimiser
        means = self._gradients(data)
        norm = nn.utils.clip_grad_norm_(network.parameters(), self.options.clip_norm)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        loss, plain, motion = self.world.mean([float(value) for value in means])
        result = StepResult(loss, plain, motion, float(norm), self.options.rate(data.step))
        if not all(torch.isfinite(torch.tensor([loss, result.grad_norm]))):
            optimiser.zero_grad(set_to_none=True)
            raise NotFinite(self._story(data, result))
        for group in optimiser.param_groups:
            group["lr"] = result.lr
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if self.trainee.ema:
            self.trainee.ema.update(network.parameters(), data.step)
        return result

    def _gradients(self, data: StepData) -> torch.Tensor:
        """Accumulate the gradients of all micro-batches; returns the means of loss, plain and motion term."""
        sums = torch.zeros(3, device=self.world.device)
        parts = data.micro_batches
        clips = sum(len(part) for part in parts)
        for number, part in enumerate(parts):
            batch = part.to(self.world.device)
            # Dropout is drawn from the global generator, which must not remember earlier steps.
            torch.manual_seed(layer_seed(self.seed, data.step, self.world.rank, number))
            with gradients_stay_here(self.trainee.network, stay=number < len(parts) - 1):
                with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.half):
                    terms = self.objective(self.trainee.network, batch)
                torch.autograd.backward(terms.total.sum() / clips)
            sums += torch.stack([t.detach().sum() for t in (terms.total, terms.plain, terms.motion)]) / clips
        return sums

    def _story(self, data: StepData, result: StepResult) -> str:
        clips = [clip for part in data.micro_batches for clip in part.clip_ids]
        return (
            f"step {data.step}: the loss is {result.loss:g} and the gradient's norm {result.grad_norm:g}. Nothing of "
            f"this step was applied; the last checkpoint is good. This worker had clips {', '.join(clips[:3])} ... . "
            "Go on from there with a lower --optimiser.lr, or with --hardware.precision float32."
        )
