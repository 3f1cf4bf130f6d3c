"""Rectified flow: straight lines from clip to noise, and their velocity (Liu et al. 2023; Lipman et al. 2023).

x_s = (1 - s) x_0 + s noise, s from 0 to 1; the network predicts noise - x_0. Its timestep is s times ``steps``.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from base.errors import InputError
from diffusion.options import Sampling
from diffusion.process import Process


@dataclass(frozen=True)
class Flow(Process):
    """Rectified flow with Euler's method.

    ``shift`` moves times towards noise, s -> shift s / (1 + (shift - 1) s), in training and sampling (Esser et
    al. 2024, equation 23). ``times`` is the distribution of training times before the shift: ``uniform``, or
    ``logit-normal`` with ``mean`` and ``spread`` (their section 3.1).
    """

    shift: float = 1.0
    times: Literal["uniform", "logit-normal"] = "uniform"
    mean: float = 0.0
    spread: float = 1.0

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.steps < 1:
            raise ValueError(f"schedule.steps {self.steps}: must be at least 1")
        if not 0 < self.shift < math.inf:
            raise ValueError(f"schedule.shift {self.shift}: must be above 0; 1 means no shift")
        if not (0 < self.spread < math.inf and math.isfinite(self.mean)):
            raise ValueError(
                f"schedule.mean {self.mean}, schedule.spread {self.spread}: must be finite, spread above 0"
            )

    def draw_time(self, rng: np.random.Generator) -> float:
        """S times ``steps`` of one training sample."""
        if self.times == "uniform":
            s = float(rng.random())
        else:
            s = 1 / (1 + math.exp(-float(rng.normal(self.mean, self.spread))))
        return self.shifted(s) * self.steps

    def shifted(self, s: float) -> float:
        """S after the shift."""
        return self.shift * s / (1 + (self.shift - 1) * s)

    def noised(
        self, x0: Float[Tensor, "b c t h w"], noise: Float[Tensor, "b c t h w"], time: Shaped[Tensor, " b"]
    ) -> Float[Tensor, "b c t h w"]:
        """x_s."""
        s = (time.to(x0) / self.steps).view(-1, 1, 1, 1, 1)
        return (1 - s) * x0 + s * noise

    def target(
        self, x0: Float[Tensor, "b c t h w"], noise: Float[Tensor, "b c t h w"], time: Shaped[Tensor, " b"]
    ) -> Float[Tensor, "b c t h w"]:
        """The velocity, the same at every time."""
        del time
        return noise - x0

    @property
    def predicts(self) -> str:
        """The velocity."""
        return "velocity"

    def check(self, options: Sampling) -> None:
        """InputError for options that Euler's method does not support: noise, solvers, leading spacing."""
        if options.eta:
            raise InputError(f"eta {options.eta:g}: this model was trained with rectified flow; set eta to 0.")
        if options.solver != "ddim":
            raise InputError(f"solver {options.solver}: this model was trained with rectified flow; omit solver.")
        if options.spacing == "leading":
            raise InputError("spacing leading: this model was trained with rectified flow; set spacing to trailing.")

    def sampler(self, options: Sampling) -> "Euler":
        """Euler's method on shifted, evenly spaced times from 1 to 0."""
        self.check(options)
        return Euler(self, options.steps)

    def scheduler_config(self) -> dict[str, Any]:
        """The closest scheduler of diffusers, whose last step is shorter than ours."""
        return {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": self.steps,
            "shift": self.shift,
        }


class Euler:
    """Euler's method: x moves along the predicted velocity from each s to the next."""

    def __init__(self, flow: Flow, steps: int) -> None:
        self._s = [flow.shifted(1 - number / steps) for number in range(steps + 1)]
        self.times = torch.tensor([s * flow.steps for s in self._s[:-1]], dtype=torch.float32)

    def step(
        self,
        number: int,
        predicted: Float[Tensor, "b c t h w"],
        sample: Float[Tensor, "b c t h w"],
        noise: Tensor | None,
    ) -> Float[Tensor, "b c t h w"]:
        """The sample at the next s."""
        del noise
        return sample + (self._s[number + 1] - self._s[number]) * predicted
