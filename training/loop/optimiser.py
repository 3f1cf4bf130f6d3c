"""AdamW with a constant rate, and a moving average of the weights."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn


def trained(network: nn.Module) -> list[nn.Parameter]:
    """The parameters that steps change: without an adapter all of them."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


@dataclass(frozen=True)
class Optimiser:
    """AdamW. The learning rate is the paper's, AdamW and clipping are DynamiCrafter's, weight decay is torch's.

    The rate rises linearly over ``warmup`` steps. ``ema`` is the decay of the weights' moving average, which is saved
    as the model (0: the weights themselves).
    """

    lr: float = 5e-5
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    clip_norm: float = 0.5
    warmup: int = 0
    ema: float = 0.9999

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"optimiser.lr {self.lr}: must be above 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"optimiser.betas {self.betas}: each must be from 0 to below 1")
        for name in ("weight_decay", "warmup"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"optimiser.{name} {getattr(self, name)}: must be 0 or more")
        if not 0 <= self.ema < 1:
            raise ValueError(f"optimiser.ema {self.ema}: must be from 0 (none) to below 1")
        if not self.clip_norm > 0:
            raise ValueError(f"optimiser.clip_norm {self.clip_norm}: must be above 0")

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        return self.lr * min(1.0, (step + 1) / self.warmup) if self.warmup else self.lr

    def build(self, network: nn.Module, *, fused: bool = False) -> torch.optim.AdamW:
        """The optimiser of a network's trainable parameters; biases and norms are not decayed.

        It is fused on a GPU, and with ``fused`` on a CPU too, where the last digits then differ.
        """
        trainable = trained(network)
        groups: list[dict[str, Any]] = [
            {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]  # an adapter has matrices alone
        fused = fused or all(parameter.is_cuda for parameter in trainable)
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, fused=fused, foreach=not fused)


def step_if(optimiser: torch.optim.Optimizer, finite: Bool[Tensor, ""]) -> bool:
    """The optimiser's step, unless the gradients are not ``finite``. False if it is known not to be applied.

    A fused optimiser decides on its device, and nobody waits for it; for others the host does.
    """
    if optimiser.defaults.get("fused"):
        optimiser.found_inf = (~finite).float()  # type: ignore[attr-defined] # as torch.amp.GradScaler sets it
    elif not finite:
        return False
    optimiser.step()
    return True


class Ema:
    """A moving average of parameters: average += (1 - d) (parameters - average).

    d rises with the step as (1 + step) / (10 + step) up to ``decay``, or early averages would be the random start.
    """

    def __init__(self, parameters: Iterable[Tensor], decay: float) -> None:
        self.decay = decay
        self.average = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self, parameters: Iterable[Tensor], step: int) -> None:
        """Update the average with the parameters after a step."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.average, [parameter.detach() for parameter in parameters], 1 - decay)

    @contextmanager
    def swapped(self, parameters: Iterable[Tensor]) -> Iterator[None]:
        """Within the context, the parameters hold the average."""
        held = list(parameters)
        self._swap(held)
        try:
            yield
        finally:
            self._swap(held)

    @torch.no_grad()
    def _swap(self, parameters: list[Tensor]) -> None:
        for average, parameter in zip(self.average, parameters, strict=True):
            kept = average.clone()
            average.copy_(parameter)
            parameter.copy_(kept)
