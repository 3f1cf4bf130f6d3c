"""Classifier-free guidance."""

from jaxtyping import Float
from torch import Tensor


def guided(
    with_text: Float[Tensor, "b c t h w"],
    without: Float[Tensor, "b c t h w"],
    scale: float,
    rescale: float = 0.0,
) -> Float[Tensor, "b c t h w"]:
    """Classifier-free guidance; ``rescale`` is the share that is rescaled to the deviation of the text branch.

    Rescale after Lin et al. 2024, section 3.4: strong guidance overexposes if the last step is pure noise.
    """
    out = without + scale * (with_text - without)
    if not rescale:
        return out
    axes = (1, 2, 3, 4)
    balanced = out * (with_text.std(dim=axes, keepdim=True) / out.std(dim=axes, keepdim=True))
    return rescale * balanced + (1 - rescale) * out
