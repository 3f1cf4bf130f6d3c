"""What a step minimises: the weighted error of the network's prediction on noised latents."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from diffusion.process import Process
from diffusion.weighting import LossTerms, Weighting
from models.video_model import predict
from training.data.batch import Batch


@dataclass(frozen=True)
class Objective:
    """A process and a weighting, for any network."""

    process: Process
    weighting: Weighting

    def errors(self, network: nn.Module, batch: Batch) -> Float[Tensor, "b c t h w"]:
        """Target minus prediction for the batch's noise and times, float32."""
        noised = self.process.noised(batch.latents, batch.noise, batch.timestep)
        target = self.process.target(batch.latents, batch.noise, batch.timestep)
        return target - predict(network, noised, batch.timestep, batch.conditions).float()

    def __call__(self, network: nn.Module, batch: Batch) -> LossTerms:
        """The loss of each clip."""
        return self.weighting(self.errors(network, batch), batch.heatmap, batch.latents)
