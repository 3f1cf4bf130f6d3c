"""RAFT's flow, run on batches of pairs across clips.

The forward pass is torchvision's with three optimisations that keep the flow: a frame's features are computed once
instead of for each of its two pairs; only the last update is upsampled; the convolutions run in mixed
precision (the correlation volume and the coordinates stay in float32).
"""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from base.errors import WeightsError
from base.tensor_hash import read_tensors
from pipeline.motion.batching import in_groups
from pipeline.motion.raft import Raft

if TYPE_CHECKING:  # torchvision's models take seconds to import
    from torchvision.models.optical_flow.raft import RAFT


class RaftFlow:
    """RAFT applied to clips."""

    def __init__(self, config: Raft, state: dict[str, Tensor], device: torch.device) -> None:
        self.config = config
        self.device = device
        self.dtype = getattr(torch, config.precision)
        model = new_model(config.size)
        missing = model.state_dict().keys() - state.keys()
        if missing:
            raise WeightsError(f"the file is not RAFT-{config.size}: it lacks {sorted(missing)[0]}.")
        model.load_state_dict(state)
        self.model: RAFT = model.eval().requires_grad_(False).to(device)

    def _mixed(self) -> AbstractContextManager[object]:
        """The context of what may be computed in the configured precision."""
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)

    def __call__(self, frames: UInt8[Tensor, "n t h w 3"]) -> Float[Tensor, "n s 2 h w"]:
        """Flow between neighbouring frames; height and width divisible by 8 and at least 128."""
        h, w = frames.shape[2:4]
        if h % 8 or w % 8 or min(h, w) < 128:
            raise ValueError(f"RAFT needs frames of at least 128 pixels, divisible by 8; got {h} x {w}")
        return in_groups(self._group, frames, self.config.clips_a_batch)

    @torch.inference_mode()
    def _group(self, frames: UInt8[Tensor, "n t h w 3"]) -> Float[Tensor, "n s 2 h w"]:
        n = frames.shape[0]
        images = rearrange(frames.to(self.device), "n t h w c -> n t c h w").float() / 127.5 - 1
        with self._mixed():
            features = self.model.feature_encoder(rearrange(images, "n t c h w -> (n t) c h w")).float()
            context = self.model.context_encoder(rearrange(images[:, :-1], "n t c h w -> (n t) c h w"))
        features = rearrange(features, "(n t) c h w -> n t c h w", n=n)
        first = rearrange(features[:, :-1], "n t c h w -> (n t) c h w").contiguous()
        second = rearrange(features[:, 1:], "n t c h w -> (n t) c h w").contiguous()
        return rearrange(self._refine(first, second, context), "(n t) c h w -> n t c h w", n=n)

    def _refine(
        self,
        first: Float[Tensor, "p c h w"],
        second: Float[Tensor, "p c h w"],
        context: Float[Tensor, "p d h w"],
    ) -> Float[Tensor, "p 2 hh ww"]:
        from torchvision.models.optical_flow._utils import make_coords_grid, upsample_flow

        model = self.model
        model.corr_block.build_pyramid(first, second)
        width = model.update_block.hidden_state_size
        hidden = torch.tanh(context[:, :width])
        context = F.relu(context[:, width:])
        origin = make_coords_grid(first.shape[0], *first.shape[-2:]).to(first.device)
        target = origin
        for _ in range(self.config.updates):
            correlation = model.corr_block.index_pyramid(centroids_coords=target)
            with self._mixed():
                hidden, step = model.update_block(hidden, context, correlation, target - origin)
            target = target + step.float()
        with self._mixed():
            mask = None if model.mask_predictor is None else model.mask_predictor(hidden)
        flow: Tensor = upsample_flow(flow=target - origin, up_mask=None if mask is None else mask.float())
        return flow


def new_model(size: Literal["large", "small"]) -> "RAFT":
    """Torchvision's model with random weights."""
    from torchvision.models.optical_flow import raft_large, raft_small

    made: RAFT = (raft_large if size == "large" else raft_small)(weights=None)
    return made


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of weights."""
    return {name: read() for name, read in read_tensors(path)}
