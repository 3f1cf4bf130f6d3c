"""One training step: forward, backward, a check, the optimiser's step, the moving average.

Up to the optimiser's step nothing makes the host wait for a GPU (tests/training/loop/test_host_waits.py).
"""

import math
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from base.errors import NotFinite
from training.data.draws import layer_seed
from training.data.loader import StepData
from training.loop.objective import Objective
from training.loop.optimiser import Ema, Optimiser, step_if, trained
from training.loop.parallel import World, no_gradient_sync


@dataclass
class TrainState:
    """What a step changes: the network (wrapped for its world), its optimiser, the moving average."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    ema: Ema | None

    @property
    def trained(self) -> list[nn.Parameter]:
        """The parameters that a step changes, and the moving average follows."""
        return trained(self.network)


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
class LaunchedStep:
    """A step that the device may still be computing; its figures are on their way to the host."""

    data: StepData
    names: list[str]
    figures: Float[Tensor, " n"]
    """On the host: the loss, the terms of ``names``, the gradient norm; float64."""
    lr: float
    ready: torch.cuda.Event | None
    """Until then ``figures`` are not valid."""

    def read(self) -> StepResult:
        """Wait for the step. Raises NotFinite if loss or gradient is not finite; it was then not applied."""
        if self.ready is not None:
            self.ready.synchronize()
        loss, *terms, norm = self.figures.tolist()
        result = StepResult(loss, dict(zip(self.names, terms, strict=True)), norm, self.lr)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise NotFinite(self._describe(result))
        return result

    def _describe(self, result: StepResult) -> str:
        clips = [clip for part in self.data.micro_batches for clip in part.clip_ids]
        return (
            f"step {self.data.step}: the loss is {result.loss:g} and the gradient norm {result.grad_norm:g}. This step "
            f"was not applied, and the last checkpoint is valid. This worker had clips {', '.join(clips[:3])} ... . "
            "Continue from it with a lower --optimiser.lr, or with --hardware.precision float32."
        )


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
        return self.launch(data).read()

    def launch(self, data: StepData) -> LaunchedStep:
        """Begin a step; on a GPU, return before it is computed. A step that is not finite updates nothing.

        (A fused optimiser does not update the weights then, but the moving average follows them all the same.)
        """
        optimiser = self.state.optimiser
        names, means = self._gradients(data)
        norm = nn.utils.clip_grad_norm_(self.state.trained, self.options.clip_norm)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        figures = torch.cat([self.world.mean(means), norm.double()[None]])
        rate = self.options.rate(data.step)
        for group in optimiser.param_groups:
            group["lr"] = rate
        applied = step_if(optimiser, figures[0].isfinite() & figures[-1].isfinite())
        optimiser.zero_grad(set_to_none=True)
        if self.state.ema and applied:
            self.state.ema.update(self.state.trained, data.step)
        return LaunchedStep(data, names, figures.to("cpu", non_blocking=True), rate, self._event())

    def _event(self) -> torch.cuda.Event | None:
        """What the device has been given so far, to wait for."""
        if self.world.device.type != "cuda":
            return None
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.world.device))
        return event

    def _gradients(self, data: StepData) -> tuple[list[str], Tensor]:
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
                with torch.autocast(self.world.device.type, torch.bfloat16) if self.half else nullcontext():
                    terms = self.objective(self.state.network, batch)
                torch.autograd.backward(terms.total.sum() / clips)
            names = list(terms.terms)
            sums = sums + torch.stack([t.detach().sum() for t in (terms.total, *terms.terms.values())]) / clips
        return names, sums
