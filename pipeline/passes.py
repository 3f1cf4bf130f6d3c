"""What one run of a graph is given, and the one way it ends that its caller must handle."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.featurizers.base import ClipFeature, TextFeature
from pipeline.stages.text import TextTarget
from pipeline.stages.write import PartWriter
from pipeline.video.geometry import ClipShape
from pipeline.video.worker import DecodeLimits


@dataclass(frozen=True)
class ClipPass:
    """One graph over clips: the work file with ``rows`` rows, ``part_rows`` a part, and what is computed."""

    work: str
    rows: int
    part_rows: int
    features: Mapping[str, ClipFeature]
    shape: ClipShape
    limits: DecodeLimits
    writer: PartWriter
    killers: frozenset[str] = frozenset()
    """Slots of clips that kill the process that computes them; they fail without being tried."""


@dataclass(frozen=True)
class TextPass:
    """One graph over captions: the work file with ``parts`` row groups, the feature and where its states go."""

    work: str
    parts: int
    feature: TextFeature
    target: TextTarget


class WorkersLost(Exception):  # noqa: N818
    """A graph broke off because worker processes kept dying."""
