"""RAFT (Teed & Deng 2020), torchvision's model and weights: its settings, identity and files.

The flow itself is computed in :mod:`pipeline.motion.raft_flow`. This file loads no torch, so that a plan can do
without.
"""

import os
import urllib.error
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from base.errors import WeightsError
from base.gpus import Cost
from base.tensor_hash import tensor_hash
from base.torch_types import Device
from base.weights import LocalWeights, Weights, locate
from pipeline.motion.flow import FlowFunction

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
        path = _torch_home() / "hub" / "checkpoints" / official.rsplit("/", 1)[1]
        if not path.exists():
            import torch

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

    def load(self, device: Device) -> FlowFunction:
        """The model on a device, in evaluation mode."""
        from pipeline.motion.raft_flow import RaftFlow, read_state

        return RaftFlow(self, read_state(self.locate().files[0]), device)

    def cost(self, frames: int, height: int, width: int) -> Cost:
        """Of the flow between neighbouring frames of a clip, in groups as clips are computed."""
        import torch

        from models.estimate import forward_cost
        from pipeline.motion.raft_flow import RaftFlow, new_model

        meta = torch.device("meta")
        with meta:  # a device that autocast does not know
            flow = RaftFlow(replace(self, precision="float32"), new_model(self.size).state_dict(), meta)
        clips = torch.empty(self.clips_a_batch, frames, height, width, 3, dtype=torch.uint8, device=meta)
        found = forward_cost(lambda: flow(clips), self.precision, autocast=True)
        return found.times(1 / self.clips_a_batch)


def _torch_home() -> Path:
    """The folder of torch's downloads, as ``torch.hub`` chooses it."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser()


def _hash_prefix(url: str) -> str:
    """The start of the file's SHA-256, which torchvision puts into its name."""
    return url.rsplit("-", 1)[1].removesuffix(".pth")
