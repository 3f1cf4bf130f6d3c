"""From pictures to latents and back, whichever latent space a model works in."""

from collections.abc import Callable
from dataclasses import dataclass

from einops import rearrange
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class LatentSpace:
    """A latent space, ready on a device.

    ``to_latents`` takes images ``[b 3 H W]`` in -1 to 1 and gives unscaled latents ``[b c h w]``, the mean of the
    posterior; ``to_images`` is the way back. ``cell`` is the width of a latent cell in pixels.
    """

    cell: int
    scaling_factor: float
    to_latents: Callable[[Tensor], Tensor]
    to_images: Callable[[Tensor], Tensor]

    def encode(self, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b c h w"]:
        """Latents as a network takes them."""
        return self.to_latents(images) * self.scaling_factor

    def decode(self, latents: Float[Tensor, "b c t h w"]) -> Float[Tensor, "n 3 height width"]:
        """The frames of clips, one clip after the other, float32."""
        return self.to_images(rearrange(latents.float(), "b c t h w -> (b t) c h w") / self.scaling_factor)
