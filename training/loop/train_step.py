"""One training step: forward, backward, a check, the optimiser's step, the moving average."""

from dataclasses import dataclass

import torch
from torch import nn

from base.errors import NotFinite
from training.data.draws import layer_seed
from training.data.loader import StepData
from training.loop.objective import Objective
from training.loop.optimiser import Ema, Optimiser
from training.loop.parallel import World, no_gradient_sync


@dataclass
class TrainState:
    """What a step changes: the network (wrapped for its world), its optimiser, the moving average."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    ema: Ema | None


@dataclass(frozen=True)
class StepResult:
    """The result of a step: means over the global batch, ``terms`` by name, and the gradient norm before clipping."""

    loss: float
    terms: dict[str, float]
    grad_norm: float
    lr: float

    def metrics(self) -> dict[str, float]:
        """All values by name."""
        return {"loss": self.loss, **self.terms, "grad_norm": self.grad_norm, "lr": self.lr}


@dataclass(frozen=True)
class TrainStep:
    """Computes steps. ``half`` runs the network under bfloat16 autocast."""

    state: TrainState
    objective: Objective
    options: Optimiser
    world: World
    seed: int
    half: bool = False

    def step(self, data: StepData) -> StepResult:
        """One step on this worker's data. Raises NotFinite, without any update, if loss or gradient is not finite."""
        network, optimiser = self.state.network, self.state.optimiser
        names, means = self._gradients(data)
        norm = nn.utils.clip_grad_norm_(network.parameters(), self.options.clip_norm)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        loss, *terms = self.world.mean([float(value) for value in means])
        result = StepResult(loss, dict(zip(names, terms, strict=True)), float(norm), self.options.rate(data.step))
        if not all(torch.isfinite(torch.tensor([loss, result.grad_norm]))):
            optimiser.zero_grad(set_to_none=True)
            raise NotFinite(self._describe(data, result))
        for group in optimiser.param_groups:
            group["lr"] = result.lr
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if self.state.ema:
            self.state.ema.update(network.parameters(), data.step)
        return result

    def _gradients(self, data: StepData) -> tuple[list[str], torch.Tensor]:
        """Accumulate the gradients of all micro-batches; returns the terms' names, and means of loss and terms."""
        sums = torch.zeros((), device=self.world.device)
        names: list[str] = []
        parts = data.micro_batches
        clips = sum(len(part) for part in parts)
        for number, part in enumerate(parts):
            batch = part.to(self.world.device)
            # Dropout uses the global generator, whose state must not depend on earlier steps.
            torch.manual_seed(layer_seed(self.seed, data.step, self.world.rank, number))
            with no_gradient_sync(self.state.network, skip=number < len(parts) - 1):
                with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.half):
                    terms = self.objective(self.state.network, batch)
                torch.autograd.backward(terms.total.sum() / clips)
            names = list(terms.terms)
            sums = sums + torch.stack([t.detach().sum() for t in (terms.total, *terms.terms.values())]) / clips
        return names, sums

    def _describe(self, data: StepData, result: StepResult) -> str:
        clips = [clip for part in data.micro_batches for clip in part.clip_ids]
        return (
            f"step {data.step}: the loss is {result.loss:g} and the gradient norm {result.grad_norm:g}. This step "
            f"was not applied, and the last checkpoint is valid. This worker had clips {', '.join(clips[:3])} ... . "
            "Continue from it with a lower --optimiser.lr, or with --hardware.precision float32."
        )
