"""The inputs of passes over a work file, the executor interface, and the failure that a run must handle."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import pyarrow as pa

from dataset.lock import Fence
from pipeline.featurizers.base import ClipFeature, TextFeature
from pipeline.stages.text import TextTarget
from pipeline.stages.write import PartWriter
from pipeline.video.geometry import ClipShape
from pipeline.video.process.worker import DecodeLimits

SOURCES_A_TASK = 256
"""The most sources that one task probes."""


@dataclass(frozen=True)
class ProbePass:
    """One pass over sources: the work file with ``rows`` of them, and the fence of the dataset to write to.

    ``order`` is higher than that of every earlier probe of the dataset: the latest result of a source counts.
    """

    work: str
    rows: int
    fence: Fence
    limits: DecodeLimits
    order: int


@dataclass(frozen=True)
class ClipPass:
    """One pass over clips: the work file with ``rows`` rows, ``part_rows`` per part, and the features to compute."""

    work: str
    rows: int
    part_rows: int
    features: Mapping[str, ClipFeature]
    shape: ClipShape
    limits: DecodeLimits
    writer: PartWriter
    poison: frozenset[str] = frozenset()
    """Slots of clips that crash workers; they fail without being tried."""
    clips: int = 0
    """Number of rows that are clips; the others pad short parts."""


@dataclass(frozen=True)
class TextPass:
    """One pass over captions: the work file with ``parts`` parts, the feature and its target."""

    work: str
    parts: int
    feature: TextFeature
    target: TextTarget
    captions: int = 0


class WorkersLost(Exception):  # noqa: N818
    """A pass was aborted because workers kept dying; ``poison`` has the slots of the clips that crash them."""

    def __init__(self, reason: str, poison: frozenset[str] = frozenset()) -> None:
        super().__init__(reason)
        self.poison = poison


@runtime_checkable
class Executor(Protocol):
    """Executes the passes of a run: on a Ray cluster, or, for tests, in this process.

    ``stage_seconds`` sums the time of each stage over all passes and processes.
    """

    stage_seconds: dict[str, float]

    def probe(self, job: ProbePass) -> Generator[int, None, None]:
        """Probe every source and write the results; yields how many are done."""

    def compute_clips(self, job: ClipPass) -> Generator[pa.Table, None, None]:
        """Compute every clip; yields the status rows of a part once it is on disk. Raises WorkersLost."""

    def encode_text(self, job: TextPass) -> Generator[int, None, None]:
        """Encode every caption, part by part; yields how many are written."""
