"""Wan's transformer (Wan 2.1 and 2.2, image to video): diffusers' network, conditioned as its pipeline does it.

The picture enters in one of two ways, which the numbers of channels tell apart:

- as many channels in as out (TI2V-5B): latent 0 of the sample is the picture's, its tokens are at time 0, and what the
  network says of it has no meaning;
- twice as many and the mask's (I2V-A14B, Wan 2.1 I2V): beside the sample stand a mask, 1 at latent 0, and the latents
  of the picture followed by empty frames. With ``image_dim``, the text follows tokens of the picture.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed
from einops import repeat
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from models.video_model import VideoModel

TEXT_TOKENS = 512
"""The network attends to the text's padding, so it always gets as many as in its training; shorter texts end in 0."""


class VideoWan(VideoModel, WanTransformer3DModel):  # type: ignore[misc]
    """Its config and tensors are those of diffusers' class, which opens its files and whose files it opens."""

    rope: nn.Module

    @property
    def conditions(self) -> tuple[str, ...]:
        """Text, and the picture as the network takes it."""
        if self.clamps:
            return ("text", "image_latent")
        return ("text", "image_clip") if self.config.image_dim is None else ("text", "image_clip", "image_tokens")

    @property
    def clamps(self) -> bool:
        """Whether latent 0 is the picture's, instead of further channels."""
        return int(self.config.in_channels) == self.latent_channels

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        return int(self.config.out_channels)

    @property
    def given_frames(self) -> int:
        """Latent 0 is given where it is clamped."""
        return 1 if self.clamps else 0

    def sharded_units(self) -> Iterator[nn.Module]:
        """Its blocks."""
        yield from self.blocks

    def forward(
        self,
        sample: Float[Tensor, "b c t h w"],
        timestep: Shaped[Tensor, " b"],
        text: Float[Tensor, "b l d"],
        image_latent: Float[Tensor, "b c h w"] | None = None,
        image_clip: Float[Tensor, "b c t h w"] | None = None,
        image_tokens: Float[Tensor, "b n k"] | None = None,
    ) -> Float[Tensor, "b c t h w"]:
        """Predict the velocity from noisy latents; inputs are cast to the weights' dtype."""
        dtype, time = self.proj_out.weight.dtype, timestep.float()
        if image_latent is not None:
            sample = torch.cat([image_latent[:, :, None].to(sample), sample[:, :, 1:]], dim=2)
            time = self._token_times(time, sample)
        if image_clip is not None:
            sample = torch.cat([sample, self._mask(sample), image_clip.to(sample)], dim=1)
        padded = F.pad(text, (0, 0, 0, TEXT_TOKENS - text.shape[1]))
        tokens = None if image_tokens is None else image_tokens.to(dtype)
        found: Tensor = super().forward(sample.to(dtype), time, padded.to(dtype), tokens, return_dict=False)[0]
        return found

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As any module's; one built on the meta device also computes its rotary tables, which are not stored."""
        found = super().load_state_dict(state_dict, strict=strict, assign=assign)
        if assign and self.rope.freqs_cos.is_meta:
            config = self.config
            self.rope = WanRotaryPosEmbed(config.attention_head_dim, config.patch_size, config.rope_max_seq_len)
        return found

    def to_json_string(self) -> str:
        """Its config under the name of diffusers' class."""
        return json.dumps(json.loads(super().to_json_string()) | {"_class_name": "WanTransformer3DModel"}, indent=2)

    def _token_times(self, time: Float[Tensor, " b"], sample: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b n"]:
        """The time of each token: 0 in the given frames."""
        frames, rows, columns = (
            size // patch for size, patch in zip(sample.shape[2:], self.config.patch_size, strict=True)
        )
        times = repeat(time, "b -> b t n", t=frames, n=rows * columns).clone()
        times[:, : self.given_frames] = 0
        return times.flatten(1)

    def _mask(self, sample: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b m t h w"]:
        """1 where the picture is known: at latent 0, in a channel for each frame that a latent may hold."""
        batch, channels, *grid = sample.shape
        mask = sample.new_zeros(batch, self.config.in_channels - 2 * channels, *grid)
        mask[:, :, 0] = 1
        return mask
