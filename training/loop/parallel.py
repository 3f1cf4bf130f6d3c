"""Data parallelism: a worker's rank, how the network is distributed, and communication between workers."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from models.video_model import VideoModel


@dataclass(frozen=True)
class World:
    """A worker's rank and the number of workers. A single worker needs no process group."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this worker writes for all."""
        return self.rank == 0

    def mean(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The mean of each value over all workers, float64, on the device; all must have the same number of clips."""
        total = values.double()
        if self.size > 1:
            dist.all_reduce(total)
        return total / self.size

    def share(self, value: Any) -> Any:
        """Broadcast the first worker's value to all workers."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]


def distribute(network: VideoModel, world: World, parallel: Literal["ddp", "fsdp"], *, half: bool) -> nn.Module:
    """Distribute a network over the workers: replicated (DDP), or with parameters and moments sharded (FSDP2)."""
    if world.size == 1:
        return network
    if parallel == "ddp":
        devices = [world.device] if world.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=devices, gradient_as_bucket_view=True)
    # Takes seconds to import, and a single worker does not need it.
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    # A block's output may be a view; the parent's forward does not modify it in place.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(world.device.type, (world.size,))
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16 if half else None, reduce_dtype=torch.float32)
    for unit in network.sharded_units():
        fully_shard(unit, mesh=mesh, mp_policy=policy)
    # The root, too: else parameters gathered by a forward pass without a backward pass would be stale in the next step.
    # Inputs are not cast, or times would be rounded to bfloat16: networks cast what they need themselves.
    exact = replace(policy, cast_forward_inputs=False)
    fully_shard(network, mesh=mesh, mp_policy=exact, reshard_after_forward=True)
    return network


@contextmanager
def no_gradient_sync(network: nn.Module, *, skip: bool) -> Iterator[None]:
    """With ``skip``, gradients are not averaged over the workers: only the last pass of an accumulation does that."""
    if isinstance(network, nn.parallel.DistributedDataParallel):
        with network.no_sync() if skip else nullcontext():
            yield
    else:
        if synchronise := getattr(network, "set_requires_gradient_sync", None):  # FSDP2's
            synchronise(not skip)
        yield
