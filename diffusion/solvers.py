"""Diffusers' multistep solvers: DPM-Solver++ (Lu et al. 2022) and UniPC (Zhao et al. 2023)."""

from typing import Any

from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler
from jaxtyping import Float
from torch import Tensor

from diffusion.options import Sampling
from diffusion.schedule import Schedule

_KINDS = {"dpm++": DPMSolverMultistepScheduler, "unipc": UniPCMultistepScheduler}
_BETAS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type", "rescale_betas_zero_snr")


class DiffusersSolver:
    """A solver of diffusers as a sampler of a schedule.

    Steps are trailing: with leading ones diffusers starts these solvers below full noise.
    """

    def __init__(self, schedule: Schedule, options: Sampling) -> None:
        settings = schedule.scheduler_config()
        chosen: dict[str, Any] = {name: settings[name] for name in _BETAS}
        self._scheduler = _KINDS[options.solver](timestep_spacing="trailing", final_sigmas_type="zero", **chosen)
        self._scheduler.set_timesteps(options.steps)
        self.times: Tensor = self._scheduler.timesteps

    def step(
        self,
        number: int,
        predicted: Float[Tensor, "b c t h w"],
        sample: Float[Tensor, "b c t h w"],
        noise: Tensor | None,
    ) -> Float[Tensor, "b c t h w"]:
        """The sample at the next smaller time."""
        del noise
        found: Tensor = self._scheduler.step(predicted, self.times[number], sample, return_dict=False)[0]
        return found
