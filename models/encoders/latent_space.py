"""The interface of a latent space: from pictures to latents and back."""

from collections.abc import Callable
from dataclasses import dataclass

from einops import rearrange
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class LatentSpace:
    """A latent space, loaded on a device.

    ``to_latents`` takes images ``[b 3 H W]`` in -1 to 1 and returns unscaled latents ``[b c h w]``, the posterior
    mean; ``to_images`` is the inverse. ``cell`` is the width of a latent cell in pixels.
    """

    cell: int
    scaling_factor: float
    to_latents: Callable[[Tensor], Tensor]
    to_images: Callable[[Tensor], Tensor]

    def encode(self, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b c h w"]:
        """Latents for a network (scaled)."""
        return self.to_latents(images) * self.scaling_factor

    def decode(self, latents: Float[Tensor, "b c t h w"]) -> Float[Tensor, "n 3 height width"]:
        """The frames of clips, clip by clip, float32."""
        return self.to_images(rearrange(latents.float(), "b c t h w -> (b t) c h w") / self.scaling_factor)
