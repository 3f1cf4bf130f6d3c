"""The layout of a graph on a cluster: number of workers per stage, devices, and pixels in flight."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from base.errors import InputError
from pipeline.recipes import Resources
from pipeline.stages.decode import clip_bytes
from pipeline.video.geometry import ClipShape

# Cores that an actor or a reading task reserves for the whole run: so few that concurrent runs leave room for each
# other's tasks. Tasks never wait while they hold a core, so every run makes progress. Runs whose actors together held
# all cores would deadlock.
HELD_CPUS = 0.01
# Cores of tasks. None asks for a whole core, which is never free on a node with an actor.
PROBE_CPUS, DECODE_CPUS, WRITE_CPUS = 0.7, 0.4, 0.1
# Ray has a cost per block, so blocks should not be small. 32 and 64 MB measured the same.
_BLOCK_BYTES = 64 << 20
PARTS_A_READ = 32
"""Parts of the work file that a reading task takes. Ray Data joins what a task reads before it cuts it into blocks, and
each cut looks at every part that was joined."""
_CAPTIONS_AN_ENCODER = 256
"""A worker starts as long as it takes to encode some hundred captions, so fewer are not worth another one."""
BLOCKS_A_GRAPH = 1 << 15
"""Ray Data keeps five kilobytes about every block, for statistics, until a graph ends: 170 MB at most. The paper's
shape has eight clips in a block, so a million clips take four graphs."""


@dataclass(frozen=True)
class Layout:
    """Number of workers per stage, their device, and the memory in flight."""

    featurizers: int
    decoders: int
    clips_a_block: int
    memory: int
    gpu: bool

    @property
    def decode_cpus(self) -> float:
        """The share of a core for a decode task: with GPUs one task per core, else actors share the cores."""
        return PROBE_CPUS if self.gpu else DECODE_CPUS

    @property
    def actor(self) -> dict[str, float]:
        """Ray resources of a featurize actor. On a GPU it must not take a core from the decoders."""
        return {"num_gpus": 1.0, "num_cpus": 0.0} if self.gpu else {"num_cpus": HELD_CPUS}

    @property
    def device(self) -> str:
        """Where features are computed."""
        return "cuda" if self.gpu else "cpu"


def split_rows(rows: int, part_rows: int, clips_a_block: int) -> list[range]:
    """The rows of each graph of a pass: whole parts (but the last), about equally many, and not too many blocks."""
    parts = math.ceil(rows / part_rows)
    graphs = math.ceil(parts / max(1, BLOCKS_A_GRAPH * clips_a_block // part_rows))
    size = math.ceil(parts / graphs) * part_rows
    return [range(first, min(first + size, rows)) for first in range(0, rows, size)]


def lay_out(resources: Resources, shape: ClipShape, rows: int, part_rows: int, cluster: Mapping[str, float]) -> Layout:
    """Fill in unset resources of the recipe from those of the cluster ("CPU" and "GPU").

    A block never crosses the end of a part of ``part_rows``, and there are no more workers than blocks.
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


def encoders(layout: Layout, captions: int) -> int:
    """Number of workers that encode this many captions."""
    return min(layout.featurizers, math.ceil(captions / _CAPTIONS_AN_ENCODER))
