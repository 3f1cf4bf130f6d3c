"""How a graph is laid out on a cluster: how many of each stage, on what, and how many pixels may be in flight."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from diffusion.errors import InputError
from pipeline.recipes import Resources
from pipeline.stages.decode import clip_bytes
from pipeline.video.geometry import ClipShape

# Part of what Ray costs is by the block, so blocks should not be small. 32 and 64 MB measured alike.
_BLOCK_BYTES = 64 << 20


@dataclass(frozen=True)
class Layout:
    """How many of each stage run, on what, and how much may be in flight."""

    featurizers: int
    decoders: int
    clips_a_block: int
    memory: int
    gpu: bool

    @property
    def device(self) -> str:
        """Where features are computed."""
        return "cuda" if self.gpu else "cpu"


def lay_out(resources: Resources, shape: ClipShape, rows: int, part_rows: int, cluster: Mapping[str, float]) -> Layout:
    """Fill in what the recipe leaves open, from the cluster's resources ("CPU" and "GPU").

    A block never reaches over the end of a part of ``part_rows``, and no more workers are asked for than ``rows`` make
    blocks.
    """
    cpus, gpus = int(cluster.get("CPU", 1)), int(cluster.get("GPU", 0))
    gpu = resources.device == "cuda" or (resources.device == "auto" and gpus > 0)
    if gpu and gpus == 0:
        raise InputError("resources.device is cuda, but the cluster has no GPU: set it to cpu, or add a GPU node.")
    featurizers = resources.featurizers or (gpus if gpu else cpus)
    decoders = resources.decoders or (max(1, cpus - featurizers) if gpu else cpus)
    wanted = resources.clips_a_block or max(1, min(16, _BLOCK_BYTES // clip_bytes(shape)))
    block = max(size for size in range(1, min(wanted, part_rows) + 1) if part_rows % size == 0)
    blocks = math.ceil(rows / block)
    featurizers, decoders = min(featurizers, blocks), min(decoders, blocks)
    in_flight = 2 * (featurizers + decoders) * block * clip_bytes(shape)
    return Layout(featurizers, decoders, block, (resources.memory_mb << 20) or in_flight + (256 << 20), gpu)
