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

    With a ``stride`` above 1 latents compress time: the first of a clip is one frame, each further one ``stride``
    frames. ``to_latents`` then returns latents of first frames, and ``to_images`` takes clips ``[b c t h w]``.
    """

    cell: int
    scaling_factor: float
    to_latents: Callable[[Tensor], Tensor]
    to_images: Callable[[Tensor], Tensor]
    stride: int = 1

    def encode(self, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b c h w"]:
        """Latents for a network (scaled)."""
        return self.to_latents(images) * self.scaling_factor

    def decode(self, latents: Float[Tensor, "b c t h w"]) -> Float[Tensor, "n 3 height width"]:
        """The frames of clips, clip by clip, float32."""
        unscaled = latents.float() / self.scaling_factor
        return self.to_images(unscaled if self.stride > 1 else rearrange(unscaled, "b c t h w -> (b t) c h w"))

    def frames(self, latents: int) -> int:
        """How many frames a clip of so many latents has."""
        return (latents - 1) * self.stride + 1
