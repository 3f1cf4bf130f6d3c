"""Resamples image tokens to a few cross-attention tokens: perceiver resampler (Alayrac et al. 2022, section 3.1.1)."""

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

_HEAD_WIDTH = 64
_EXPANSION = 4


class Resampler(nn.Module):
    """Learned queries that attend, layer by layer, to an image's tokens and to each other.

    ``[b n k]`` becomes ``[b l d]``, with ``l`` = ``tokens`` and ``d`` = ``width`` for any ``n``. The last layer is
    initialised to zero, so an untrained resampler returns zero tokens.
    """

    def __init__(self, image_width: int, width: int, tokens: int, depth: int = 4) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(tokens, width) / width**0.5)
        self.proj_in = nn.Linear(image_width, width)
        self.layers = nn.ModuleList(_Layer(width) for _ in range(depth))
        self.norm_out = nn.LayerNorm(width)
        self.proj_out = nn.Linear(width, width)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, image_tokens: Float[Tensor, "b n k"]) -> Float[Tensor, "b l d"]:
        """Tokens to append to the text states; the input is cast to the weights' dtype."""
        image = self.proj_in(image_tokens.to(self.proj_in.weight.dtype))
        queries = repeat(self.queries, "l d -> b l d", b=image.shape[0])
        for layer in self.layers:
            queries = layer(queries, image)
        out: Tensor = self.proj_out(self.norm_out(queries))
        return out


class _Layer(nn.Module):
    """Cross-attention and feed-forward, each on normalised input and with a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // _HEAD_WIDTH if width % _HEAD_WIDTH == 0 else 1
        self.norm_image = nn.LayerNorm(width)
        self.norm_queries = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_kv = nn.Linear(width, 2 * width, bias=False)
        self.to_out = nn.Linear(width, width, bias=False)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, _EXPANSION * width),
            nn.GELU(),
            nn.Linear(_EXPANSION * width, width),
        )

    def forward(self, queries: Float[Tensor, "b l d"], image: Float[Tensor, "b n d"]) -> Float[Tensor, "b l d"]:
        normed = self.norm_queries(queries)
        keys, values = self.to_kv(torch.cat([self.norm_image(image), normed], dim=1)).chunk(2, dim=-1)
        q, k, v = (rearrange(x, "b l (m d) -> b m l d", m=self.heads) for x in (self.to_q(normed), keys, values))
        attended = F.scaled_dot_product_attention(q, k, v)
        queries = queries + self.to_out(rearrange(attended, "b m l d -> b l (m d)"))
        out: Tensor = queries + self.feed_forward(queries)
        return out
