"""Executes the passes of a run on a Ray cluster: joins it, shows progress, ends actors, finds poison clips.

Only a pass imports Ray: a plan does without, and a run that finds everything done.
"""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.graph.executor import ClipPass, ProbePass, TextPass, WorkersLost
from pipeline.graph.layout import DECODE_CPUS
from pipeline.graph.monitor import Counts
from pipeline.graph.progress import Progress
from pipeline.recipes import Resources

if TYPE_CHECKING:
    from pipeline.graph.monitor_actor import PassMonitor
    from pipeline.graph.pass_metrics import PassMetrics

_CLIP_STAGES = ("decode", "featurize", "write")


class RayExecutor:
    """The passes as Ray Data graphs (:mod:`pipeline.graph.graph`). Ray is joined, or started, by the first pass.

    ``dataset`` is the place that the run's metrics name.
    """

    def __init__(self, resources: Resources, dataset: str) -> None:
        self.resources = resources
        self.dataset = dataset
        self.stage_seconds: dict[str, float] = {}
        self._last: PassMonitor | None = None

    def probe(self, job: ProbePass) -> Generator[int, None, None]:
        """Probe every source and write the results; yields how many are done."""
        from pipeline.graph import graph

        with self._watched(("probe",), job.rows) as (monitor, _):
            yield from graph.probe_sources(job, monitor)

    def compute_clips(self, job: ClipPass) -> Generator[pa.Table, None, None]:
        """Compute every clip; yields the status rows of a part once it is on disk. Raises WorkersLost."""
        from pipeline.graph import graph

        with self._watched(_CLIP_STAGES, job.clips) as (monitor, metrics):
            try:
                with closing(graph.compute_clips(job, self.resources, monitor)) as parts:
                    for status in parts:
                        metrics.add_part(status, to_clips=job.writer.adds_to_clips)
                        yield status
            except WorkersLost as lost:
                poison = graph.find_poison_clips(job, self.resources, monitor)
                raise WorkersLost(str(lost), frozenset(poison)) from lost

    def encode_text(self, job: TextPass) -> Generator[int, None, None]:
        """Encode every caption, part by part; yields how many are written."""
        from pipeline.graph import graph

        with self._watched(("text",), job.captions) as (monitor, _):
            yield from graph.encode_text(job, self.resources, monitor)

    @contextmanager
    def _watched(self, stages: tuple[str, ...], total: int) -> "Iterator[tuple[PassMonitor, PassMetrics]]":
        """A monitor whose counts are shown and exported while the graph runs and summed afterwards."""
        from base import ray_session
        from base.ray_metrics import RayMetrics
        from pipeline.graph import monitor_actor
        from pipeline.graph.pass_metrics import PassMetrics

        ray_session.connect()
        monitor = self._last = monitor_actor.new_monitor(self._last)
        with RayMetrics("dataset", self.dataset) as exported:
            metrics = PassMetrics(exported, stages, total)

            def read() -> Counts:
                counts = monitor_actor.read_counts(monitor, stages)
                metrics.update(counts)
                return counts

            try:
                held = partial(monitor_actor.held_by_others, monitor, DECODE_CPUS, gpu=self.resources.device != "cpu")
                with Progress(stages, total, read, held=held):
                    yield monitor, metrics
            finally:
                monitor_actor.release(monitor)
                counts = read()
        for stage, count in counts.items():
            self.stage_seconds[stage] = self.stage_seconds.get(stage, 0.0) + count.seconds
