"""OpenCLIP's visual tower, for tokens of an image."""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from base.weights import Weights
from models.encoders import image, open_clip_weights

# CLIP's input normalisation, for RGB in 0 to 1; OpenCLIP's LAION towers use it, too.
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


class ClipImage(nn.Module):
    """OpenCLIP's visual tower up to its last layer: the class token, then all patches; 257 x 1280 for ViT-H-14.

    The tokens are taken before the final norm and projection, as in DynamiCrafter
    (``FrozenOpenCLIPImageEmbedderV2``). CLIP trains that norm on the class token only; and users can still
    normalise, while a stored norm could not be undone.
    """

    def __init__(self, architecture: str = "ViT-H-14") -> None:
        super().__init__()
        self.side = image.tower_shape(architecture).side
        self.visual: Any = open_clip_weights.create(architecture).visual

    @classmethod
    def load(cls, weights: Weights, architecture: str, device: torch.device, dtype: torch.dtype) -> "ClipImage":
        """Load an open_clip checkpoint; tensors of its text tower are ignored."""
        with torch.device("meta"):
            encoder = cls(architecture)
        open_clip_weights.fill(encoder, image.find(weights).files[0], architecture, image.PURPOSE)
        return encoder.eval().requires_grad_(False).to(device, dtype)

    @torch.inference_mode()
    def forward(self, frames: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b l d"]:
        """Tokens of RGB frames of any size."""
        images = squeeze(frames, self.side).to(self.visual.conv1.weight)
        found = self.visual.forward_intermediates(
            images, indices=1, intermediates_only=True, output_fmt="NLC", output_extra_tokens=True
        )
        return torch.cat([found["image_intermediates_prefix"][0], found["image_intermediates"][0]], dim=1)


def squeeze(frames: UInt8[Tensor, "b h w 3"], side: int) -> Float[Tensor, "b 3 {side} {side}"]:
    """RGB frames as CLIP's input: ``side`` x ``side``, float32, with CLIP's normalisation.

    The whole frame is squeezed into a square, as in DynamiCrafter: a crop would cut off the edges of wide frames. The
    resize is torch's antialiased bicubic; DynamiCrafter uses kornia's blur and bicubic with aligned corners, which
    differs slightly.
    """
    images = rearrange(frames, "b h w c -> b c h w").float() / 255
    small = nn.functional.interpolate(images, (side, side), mode="bicubic", antialias=True)
    mean, std = (small.new_tensor(values)[:, None, None] for values in (_MEAN, _STD))
    return (small - mean) / std
