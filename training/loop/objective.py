"""What a step minimises: the network's squared error on noised latents, weighted by motion."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from diffusion.schedule import Schedule
from diffusion.weighting import LossTerms, MotionFocal
from training.data.batch import Batch


@dataclass(frozen=True)
class Objective:
    """Noise schedule and loss. ``network`` is a VideoUNet or a wrapper around one."""

    schedule: Schedule
    loss: MotionFocal

    def squared_errors(self, network: Any, batch: Batch) -> Float[Tensor, "b c t h w"]:
        """(target - prediction)^2 for the batch's noise and steps, float32, not reduced."""
        noised = self.schedule.noised(batch.latents, batch.noise, batch.timestep)
        target = self.schedule.target(batch.latents, batch.noise, batch.timestep)
        condition = network_condition(network, batch)
        predicted = network(noised, batch.timestep, batch.text, batch.fps, **condition)
        squared: Tensor = (target - predicted.float()) ** 2
        return squared

    def __call__(self, network: Any, batch: Batch) -> LossTerms:
        """The loss of each clip."""
        return self.loss(self.squared_errors(network, batch), batch.heatmap)


def bare(network: Any) -> Any:
    """The U-Net (or whatever is called as one) inside what spreads it over workers."""
    return getattr(network, "module", network)


def network_condition(network: Any, batch: Batch) -> dict[str, Tensor]:
    """The image conditions that this network takes, from the first frame."""
    config = bare(network).config
    condition = {}
    if config.image_condition in ("x-cat", "both"):
        condition["image_latent"] = batch.image_latent
    if config.image_condition in ("cx-attn", "both"):
        assert batch.image_tokens is not None, "sources are opened with image tokens for such a network"
        condition["image_tokens"] = batch.image_tokens
    return condition
