"""A transformer over space-time patches (after DiT, Peebles and Xie 2023), for toys and tests.

A token is a patch of a frame's latent, concatenated with the same patch of the first frame; it attends to all other
patches of the clip and to the text states.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import get_timestep_embedding
from einops import rearrange, repeat
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from models.video_model import VideoModel


class PatchTransformer(VideoModel, ModelMixin, ConfigMixin):  # type: ignore[misc]
    """``depth`` layers of ``width`` channels in ``heads`` heads over patches of ``patch`` x ``patch`` cells."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, *, channels: int, text_width: int, width: int, depth: int, heads: int, patch: int) -> None:
        super().__init__()
        self.patches = nn.Linear(2 * channels * patch**2, width)
        self.text = nn.Linear(text_width, width)
        self.when = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, channels * patch**2)
        for parameter in self.out.parameters():  # so that training starts from zero predictions
            nn.init.zeros_(parameter)

    @property
    def conditions(self) -> tuple[str, ...]:
        """Text, frame rate, and the first frame's latent."""
        return ("text", "fps", "image_latent")

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        return int(self.config.channels)

    def sharded_units(self) -> Iterator[nn.Module]:
        """Its layers."""
        yield from self.layers

    def forward(
        self,
        sample: Float[Tensor, "b c t h w"],
        timestep: Shaped[Tensor, " b"],
        text: Float[Tensor, "b l d"],
        fps: Shaped[Tensor, " b"],
        image_latent: Float[Tensor, "b c h w"],
    ) -> Float[Tensor, "b c t h w"]:
        """Predict the process's target from noisy latents; inputs are cast to the weights' dtype."""
        dtype, patch, (*_, frames, height, width) = self.out.weight.dtype, self.config.patch, sample.shape
        image = repeat(image_latent, "b c h w -> b c t h w", t=frames)
        cells = torch.cat([sample, image], dim=1).to(dtype)
        tokens = self.patches(rearrange(cells, "b c t (h p) (w q) -> b (t h w) (c p q)", p=patch, q=patch))
        tokens = tokens + self._places(frames, height // patch, width // patch).to(tokens)
        rates = torch.cat([get_timestep_embedding(value, self.config.width) for value in (timestep, fps)], dim=-1)
        x = torch.cat([tokens + self.when(rates.to(dtype))[:, None], self.text(text.to(dtype))], dim=1)
        for layer in self.layers:
            x = layer(x)
        patches = self.out(self.norm(x[:, : tokens.shape[1]]))
        found: Tensor = rearrange(
            patches, "b (t h w) (c p q) -> b c t (h p) (w q)", t=frames, h=height // patch, p=patch, q=patch
        )
        return found

    def _places(self, *grid: int) -> Float[Tensor, "1 n d"]:
        """Position embeddings of patches: the sum over frame, row and column."""
        axes = [torch.arange(size, device=self.out.weight.device) for size in grid]
        frames, rows, columns = (get_timestep_embedding(axis, self.config.width) for axis in axes)
        summed: Tensor = frames[:, None, None] + rows[None, :, None] + columns[None, None]
        return summed.flatten(0, 2)[None]


class Layer(nn.Module):
    """A pre-norm transformer layer: self-attention and feed-forward with residuals."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.mixed = nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """The tokens after this layer."""
        q, k, v = rearrange(self.qkv(self.before(x)), "b n (s e d) -> s b e n d", s=3, e=self.heads)
        x = x + self.mixed(rearrange(F.scaled_dot_product_attention(q, k, v), "b e n d -> b n (e d)"))
        return torch.add(x, self.feed(x))
