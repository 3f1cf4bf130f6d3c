"""What a step minimises: the weighted error of the network's prediction on noised latents."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from diffusion.process import Process
from diffusion.weighting import LossTerms, Weighting
from models.video_model import predict, unwrap
from training.data.batch import Batch


@dataclass(frozen=True)
class Objective:
    """A process and a weighting, for any network."""

    process: Process
    weighting: Weighting

    def errors(self, network: nn.Module, batch: Batch) -> Float[Tensor, "b c t h w"]:
        """Target minus prediction for the batch's noise and times, float32, without frames that the image gives."""
        noised = self.process.noised(batch.latents, batch.noise, batch.timestep)
        target = self.process.target(batch.latents, batch.noise, batch.timestep)
        error = target - predict(network, noised, batch.timestep, batch.conditions).float()
        return error[:, :, unwrap(network).given_frames :]

    def __call__(self, network: nn.Module, batch: Batch) -> LossTerms:
        """The loss of each clip."""
        given = unwrap(network).given_frames
        return self.weighting(self.errors(network, batch), batch.heatmap[:, given:], batch.latents[:, :, given:])
