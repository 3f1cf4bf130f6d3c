"""RAFT (Teed & Deng 2020), torchvision's model and weights, run on batches of pairs across clips.

The forward pass is torchvision's with three optimisations that keep the flow: a frame's features are computed once
instead of for each of its two pairs; only the last update is upsampled; the convolutions run in mixed
precision (the correlation volume and the coordinates stay in float32).
"""

import urllib.error
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from base.errors import WeightsError
from base.tensor_hash import read_tensors, tensor_hash
from base.weights import LocalWeights, Weights, locate
from models.estimate import Cost, forward_cost
from pipeline.motion.batching import in_groups
from pipeline.motion.flow import FlowFunction

if TYPE_CHECKING:  # torchvision's models take seconds to import
    from torchvision.models.optical_flow.raft import RAFT

# torchvision's weights of FlyingThings, Sintel, KITTI and HD1K (large) and FlyingThings (small).
_OFFICIAL = {
    "large": "https://download.pytorch.org/models/raft_large_C_T_SKHT_V2-ff5fadd5.pth",
    "small": "https://download.pytorch.org/models/raft_small_C_T_V2-01064c6d.pth",
}


@dataclass(frozen=True)
class Raft:
    """RAFT with its settings. ``weights.source`` "torchvision" uses torchvision's weights, cached or downloaded."""

    size: Literal["large", "small"] = "large"
    weights: Weights = Weights("torchvision")
    updates: int = 12
    precision: Literal["float16", "bfloat16", "float32"] = "float16"
    clips_a_batch: int = 4
    """Clips in one forward pass; only affects speed."""

    def __post_init__(self) -> None:
        """Check the counts."""
        for name in ("updates", "clips_a_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: must be at least 1")

    def identity(self) -> dict[str, Any]:
        """Size, updates, precision and the hash of the weights' tensors."""
        return {
            "estimator": f"raft_{self.size}",
            "updates": self.updates,
            "precision": self.precision,
            "weights_tensors": tensor_hash(self.locate().files, "raft"),
            "version": 1,
        }

    def locate(self) -> LocalWeights:
        """Find or download the weights; WeightsError explains how to get them."""
        official = _OFFICIAL[self.size]
        if self.weights.source != "torchvision":
            name = official.rsplit("/", 1)[1]
            return locate(self.weights, ((name, "model.safetensors", "model.pth"),), f"RAFT-{self.size}")
        path = Path(torch.hub.get_dir()) / "checkpoints" / official.rsplit("/", 1)[1]
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                torch.hub.download_url_to_file(official, str(path), _hash_prefix(official), progress=False)
            except (urllib.error.URLError, OSError) as error:
                raise WeightsError(
                    f"RAFT-{self.size}: its weights are not in {path.parent} and cannot be downloaded. On a "
                    f"machine with network access download {official}, copy the file here and set the recipe's "
                    "flow.weights.source to its path; or choose a recipe with DIS flow, which needs no weights."
                ) from error
        return LocalWeights((path,))

    def load(self, device: torch.device) -> FlowFunction:
        """The model on a device, in evaluation mode."""
        return RaftFlow(self, _read(self.locate().files[0]), device)

    def cost(self, frames: int, height: int, width: int) -> Cost:
        """Of the flow between neighbouring frames of a clip, in groups as clips are computed."""
        meta = torch.device("meta")
        with meta:  # a device that autocast does not know
            flow = RaftFlow(replace(self, precision="float32"), _new(self.size).state_dict(), meta)
        clips = torch.empty(self.clips_a_batch, frames, height, width, 3, dtype=torch.uint8, device=meta)
        found = forward_cost(lambda: flow(clips), self.precision, autocast=True)
        return found.times(1 / self.clips_a_batch)


class RaftFlow:
    """RAFT applied to clips."""

    def __init__(self, config: Raft, state: dict[str, Tensor], device: torch.device) -> None:
        self.config = config
        self.device = device
        self.dtype = getattr(torch, config.precision)
        model = _new(config.size)
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


def _new(size: Literal["large", "small"]) -> "RAFT":
    from torchvision.models.optical_flow import raft_large, raft_small

    made: RAFT = (raft_large if size == "large" else raft_small)(weights=None)
    return made


def _hash_prefix(url: str) -> str:
    """The start of the file's SHA-256, which torchvision puts into its name."""
    return url.rsplit("-", 1)[1].removesuffix(".pth")


def _read(path: Path) -> dict[str, Tensor]:
    return {name: read() for name, read in read_tensors(path)}
