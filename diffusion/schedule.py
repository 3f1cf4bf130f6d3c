"""The noise schedule of latent diffusion, and the network's target.

x_t = sqrt(a_t) s_t x_0 + sqrt(1 - a_t) noise, a the cumulative product of (1 - beta). s is VideoCrafter2's dynamic
rescale, or 1 without it. eps-prediction predicts the noise, v-prediction predicts
v = sqrt(a_t) noise - sqrt(1 - a_t) s_t x_0 (Salimans and Ho 2022, appendix D).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from base.errors import InputError
from diffusion.options import Sampling
from diffusion.process import Process, Sampler

Prediction = Literal["v", "eps"]


@dataclass(frozen=True)
class Schedule(Process):
    """Betas that are linear in their square root, as in latent diffusion; VideoCrafter2's values by default.

    ``rescale`` is the factor of x_0 from step ``rescale_steps``, before which it falls linearly from 1 (1: no rescale).
    ``zero_terminal_snr`` shifts the schedule so that the last step is pure noise (Lin et al. 2024); with it the network
    must predict v.
    """

    beta_start: float = 0.00085
    beta_end: float = 0.012
    prediction: Prediction = "v"
    zero_terminal_snr: bool = False
    rescale: float = 1.0
    rescale_steps: int = 400

    def __post_init__(self) -> None:
        """Check the settings."""
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise ValueError(f"beta_start {self.beta_start}, beta_end {self.beta_end}: must be 0 < start <= end < 1")
        if not 2 <= self.rescale_steps <= self.steps:
            raise ValueError(f"rescale_steps {self.rescale_steps}: must be from 2 to steps, {self.steps}")
        if not 0 < self.rescale <= 1:
            raise ValueError(f"rescale {self.rescale}: must be above 0 and at most 1 (no rescale)")
        if self.zero_terminal_snr and self.prediction == "eps":
            raise ValueError("zero_terminal_snr: eps-prediction is undefined for pure noise, so set prediction to v")

    @cached_property
    def alphas_cumprod(self) -> Float[Tensor, " steps"]:
        """a, float32, computed in float64."""
        betas = torch.linspace(self.beta_start**0.5, self.beta_end**0.5, self.steps, dtype=torch.float64) ** 2
        alphas = torch.cumprod(1 - betas, 0)
        if self.zero_terminal_snr:  # Lin et al. 2024, algorithm 1
            root = alphas.sqrt()
            alphas = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
        return alphas.float()

    @cached_property
    def x0_scale(self) -> Float[Tensor, " steps"]:
        """s, float32."""
        falling = torch.linspace(1, self.rescale, self.rescale_steps, dtype=torch.float64)
        rest = torch.full((self.steps - self.rescale_steps,), self.rescale, dtype=torch.float64)
        return torch.cat([falling, rest]).float()

    def draw_time(self, rng: np.random.Generator) -> int:
        """A uniform timestep. This generator call must not change: losses of existing runs depend on it."""
        return int(rng.integers(self.steps))

    def noised(
        self, x0: Float[Tensor, "b c t h w"], noise: Float[Tensor, "b c t h w"], time: Int[Tensor, " b"]
    ) -> Float[Tensor, "b c t h w"]:
        """x_t."""
        signal, spread = self._at(time, x0)
        return signal * self._scaled(x0, time) + spread * noise

    def target(
        self, x0: Float[Tensor, "b c t h w"], noise: Float[Tensor, "b c t h w"], time: Int[Tensor, " b"]
    ) -> Float[Tensor, "b c t h w"]:
        """The noise, or v of the scaled x_0."""
        if self.prediction == "eps":
            return noise
        signal, spread = self._at(time, x0)
        return signal * noise - spread * self._scaled(x0, time)

    @property
    def predicts(self) -> str:
        """The noise (eps) or v."""
        return self.prediction

    def check(self, options: Sampling) -> None:
        """InputError for unsupported combinations of spacing, steps, solver and schedule."""
        if options.spacing is not None:
            check_terminal_noise(self, options.spacing)
        if options.steps > self.steps:
            raise InputError(f"steps {options.steps}: this model was trained with a schedule of {self.steps}.")
        if options.solver != "ddim" and options.spacing == "leading":
            raise InputError(f"spacing leading: {options.solver} only supports trailing steps; omit spacing.")
        if options.solver != "ddim" and self.rescale != 1:
            raise InputError(
                f"solver {options.solver}: this model was trained with a rescale of {self.rescale:g}, which only ddim "
                "supports; set solver to ddim."
            )

    def sampler(self, options: Sampling) -> Sampler:
        """DDIM, or the solver of the options."""
        self.check(options)
        if options.solver == "ddim":
            from diffusion.ddim import Ddim

            return Ddim(self, options)
        from diffusion.solvers import DiffusersSolver

        return DiffusersSolver(self, options)

    @cached_property
    def _on_devices(self) -> dict[torch.device, tuple[Tensor, Tensor]]:
        """Copies of a and s, by device."""
        return {}

    def _tables(self, device: torch.device) -> tuple[Float[Tensor, " steps"], Float[Tensor, " steps"]]:
        """Both tables, a and s, on a device; copied there once."""
        if device not in self._on_devices:
            self._on_devices[device] = (self.alphas_cumprod.to(device), self.x0_scale.to(device))
        return self._on_devices[device]

    def _at(self, timestep: Int[Tensor, " b"], like: Tensor) -> tuple[Tensor, Tensor]:
        alphas = _spread(self._tables(like.device)[0], timestep, like)
        return alphas.sqrt(), (1 - alphas).sqrt()

    def _scaled(self, x0: Tensor, timestep: Int[Tensor, " b"]) -> Tensor:
        return x0 if self.rescale == 1 else x0 * _spread(self._tables(x0.device)[1], timestep, x0)

    def scheduler_config(self) -> dict[str, Any]:
        """The same schedule as a config of diffusers' schedulers, which do not support the rescale."""
        return {
            "_class_name": "DDIMScheduler",
            "num_train_timesteps": self.steps,
            "beta_start": self.beta_start,
            "beta_end": self.beta_end,
            "beta_schedule": "scaled_linear",
            "prediction_type": {"v": "v_prediction", "eps": "epsilon"}[self.prediction],
            "rescale_betas_zero_snr": self.zero_terminal_snr,
            "clip_sample": False,
            "set_alpha_to_one": False,
            "timestep_spacing": "trailing" if self.zero_terminal_snr else "leading",
            "steps_offset": 0 if self.zero_terminal_snr else 1,
        }


def _spread(table: Float[Tensor, " steps"], timestep: Int[Tensor, " b"], like: Tensor) -> Float[Tensor, "b 1 1 1 1"]:
    """The values of a table at each sample's step, broadcastable to ``like``."""
    return table[timestep].view(-1, 1, 1, 1, 1).to(like.dtype)


def check_terminal_noise(schedule: Schedule, spacing: Literal["leading", "trailing"]) -> None:
    """InputError for leading steps of a model with zero terminal SNR, which must be sampled from pure noise."""
    if schedule.zero_terminal_snr and spacing == "leading":
        raise InputError("spacing leading: this model was trained with zero terminal SNR; set spacing to trailing.")
