"""DDIM with VideoCrafter2's dynamic rescale."""

import math
from typing import Literal

import torch
from diffusers import DDIMScheduler
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
from jaxtyping import Float
from torch import Tensor

from diffusion.options import Sampling
from diffusion.schedule import Schedule, check_terminal_noise


class RescaledDdim(DDIMScheduler):  # type: ignore[misc]
    """Diffusers' DDIM over a :class:`Schedule`.

    If the schedule rescales x_0, each step divides the predicted x_0 by s[t] and multiplies it by s of the next
    smaller step. With ``unscale_last`` the final x_0 is unscaled (VideoCrafter2); otherwise it keeps the last step's
    scale (DynamiCrafter).
    """

    def __init__(
        self,
        schedule: Schedule,
        spacing: Literal["leading", "trailing"] | None = None,
        unscale_last: bool = True,
    ) -> None:
        settings = schedule.scheduler_config()
        del settings["_class_name"]
        if spacing is not None:
            check_terminal_noise(schedule, spacing)
            settings |= {"timestep_spacing": spacing, "steps_offset": 1 if spacing == "leading" else 0}
        super().__init__(**settings)
        self.schedule = schedule
        self.unscale_last = unscale_last
        # Diffusers computes its own in float32, which differ in the sixth digit.
        self.alphas_cumprod = schedule.alphas_cumprod.clone()
        self.final_alpha_cumprod = self.alphas_cumprod[0]

    def step(  # noqa: PLR0913 - the parent's arguments
        self,
        model_output: Float[Tensor, "b c t h w"],
        timestep: int | Tensor,
        sample: Float[Tensor, "b c t h w"],
        eta: float = 0.0,
        variance_noise: Float[Tensor, "b c t h w"] | None = None,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
    ) -> DDIMSchedulerOutput | tuple[Tensor, Tensor]:
        """From x_t to x at the next smaller step (Song et al. 2021, equation 12), with x_0 rescaled for it.

        ``eta`` 0 adds no noise, 1 as much as DDPM; that noise is ``variance_noise``, or drawn with ``generator``.
        """
        t = int(timestep)
        later = self.timesteps[self.timesteps < t]
        after = int(later.max()) if len(later) else -1
        a, b = float(self.alphas_cumprod[t]), float(self.alphas_cumprod[max(after, 0)])
        x0, noise = self._parts(model_output, sample, a)
        spread = eta * math.sqrt((1 - b) / (1 - a) * (1 - a / b))
        ratio = float(self._scale_after(after, t) / self.schedule.x0_scale[t])
        # If x_t is pure noise, rounding can make the root's argument slightly negative.
        previous = math.sqrt(b) * ratio * x0 + math.sqrt(max(0.0, 1 - b - spread**2)) * noise
        if eta:
            drawn = torch.randn(sample.shape, generator=generator) if variance_noise is None else variance_noise
            previous = previous + spread * drawn.to(sample)
        if not return_dict:
            return previous, x0
        return DDIMSchedulerOutput(prev_sample=previous, pred_original_sample=x0)

    def _parts(self, predicted: Tensor, sample: Tensor, a: float) -> tuple[Tensor, Tensor]:
        """The (scaled) x_0 and the noise that a prediction implies."""
        signal, spread = math.sqrt(a), math.sqrt(1 - a)
        if self.schedule.prediction == "eps":
            return (sample - spread * predicted) / signal, predicted
        return signal * sample - spread * predicted, signal * predicted + spread * sample

    def _scale_after(self, after: int, timestep: int) -> Tensor:
        if after >= 0:
            return self.schedule.x0_scale[after]
        return self.schedule.x0_scale[0 if self.unscale_last else timestep]


class Ddim:
    """DDIM as a sampler of a schedule."""

    def __init__(self, schedule: Schedule, options: Sampling) -> None:
        self._scheduler = RescaledDdim(schedule, options.spacing)
        self._scheduler.set_timesteps(options.steps)
        self._eta = options.eta
        self.times: Tensor = self._scheduler.timesteps

    def step(
        self,
        number: int,
        predicted: Float[Tensor, "b c t h w"],
        sample: Float[Tensor, "b c t h w"],
        noise: Tensor | None,
    ) -> Float[Tensor, "b c t h w"]:
        """The sample at the next smaller step."""
        found: Tensor = self._scheduler.step(
            predicted, self.times[number], sample, self._eta, variance_noise=noise, return_dict=False
        )[0]
        return found
