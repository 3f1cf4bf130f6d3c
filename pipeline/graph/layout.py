"""How a graph is laid out on a cluster: how many of each stage, on what, and how many pixels may be in flight."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from base.errors import InputError
from pipeline.recipes import Resources
from pipeline.stages.decode import clip_bytes
from pipeline.video.geometry import ClipShape

# What an actor and a reading task keep for as long as a run lasts: so little that several runs leave each other room
# for tasks. Tasks wait for nobody while they hold a core, so each of them gets its turn and every run ends. Runs whose
# actors together hold all cores would wait for ever.
HELD_CPUS = 0.01
# What tasks ask for while they last. None is a whole core, which no node has to give where an actor lives on it.
PROBE_CPUS, DECODE_CPUS, WRITE_CPUS = 0.7, 0.4, 0.1
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
    def decode_cpus(self) -> float:
        """The share of a core that a decode task asks for: on GPUs one decodes a core, else actors share it."""
        return PROBE_CPUS if self.gpu else DECODE_CPUS

    @property
    def actor(self) -> dict[str, float]:
        """What Ray keeps for an actor of features. On a GPU it must not keep a core from the decoders."""
        return {"num_gpus": 1.0, "num_cpus": 0.0} if self.gpu else {"num_cpus": HELD_CPUS}

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
