"""The latent grid of a video autoencoder that compresses time.

It is causal: the first frame alone makes latent 0, and every further ``stride`` frames make one latent, so videos have
``stride`` n + 1 frames.
"""

from dataclasses import dataclass

from base.errors import InputError


@dataclass(frozen=True)
class LatentGrid:
    """Channels of a latent, frames per latent after the first, the side of a cell in pixels.

    ``patch`` is the side of the network's patches in cells, which sides must also be multiples of.
    """

    channels: int
    stride: int
    cell: int
    patch: int = 1

    def shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """The latent's c t h w for a video of this size; InputError if the grid does not divide it."""
        if frames < 1 or (frames - 1) % self.stride:
            lower = max(1, frames - (frames - 1) % self.stride)
            raise InputError(
                f"frames {frames}: must be a multiple of {self.stride} plus 1, as the autoencoder takes the first "
                f"frame alone and then {self.stride} at a time. Use {lower} or {lower + self.stride}."
            )
        side = self.cell * self.patch
        if min(height, width) < side or height % side or width % side:
            near = " x ".join(str(max(side, round(length / side) * side)) for length in (height, width))
            raise InputError(
                f"frames of {height} x {width} pixels: both sides must be multiples of {side}. Use {near}."
            )
        return self.channels, (frames - 1) // self.stride + 1, height // self.cell, width // self.cell
