"""What Prometheus is told of a preprocessing run: its stages, parts and clips. All have the label ``dataset``."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from base.ray_metrics import Metric, RayMetrics
from pipeline.graph.monitor import Counts, StageCount

ROWS = Metric("motif_preprocess_rows", "Rows that left a stage: sources (probe), clips, or captions (text)", ("stage",))
FAILED = Metric("motif_preprocess_failed_rows", "Rows that failed in a stage", ("stage",))
SECONDS = Metric("motif_preprocess_seconds", "Time spent in a stage, summed over its processes", ("stage",))
WAITING = Metric("motif_preprocess_waiting_rows", "Rows that wait for a stage or are in it", ("stage",))
PARTS = Metric("motif_preprocess_parts", "Parts on disk, each with its files in all artifacts")
CLIPS = Metric("motif_preprocess_clips", "Clips of these parts, by outcome", ("outcome",))
ADDED = "artifacts_added"  # an outcome: the clip is of an earlier run, and got what it lacked


class PassMetrics:
    """The metrics of one pass over ``total`` rows through ``stages``."""

    def __init__(self, metrics: RayMetrics, stages: tuple[str, ...], total: int) -> None:
        self.metrics = metrics
        self.stages = stages
        self.total = total
        self._before = {stage: StageCount() for stage in stages}

    def update(self, counts: Counts) -> None:
        """Take over what the stages' monitor has counted since the last call."""
        arrived = self.total
        for stage in self.stages:
            now, before = counts[stage], self._before[stage]
            if now.left < before.left:  # the monitor is lost
                return
            self.metrics.add(ROWS, now.left - before.left, stage)
            self.metrics.add(FAILED, now.failed - before.failed, stage)
            self.metrics.add(SECONDS, now.seconds - before.seconds, stage)
            self.metrics.set(WAITING, arrived - now.left, stage)
            arrived = now.left
            self._before[stage] = replace(now)

    def add_part(self, status: pa.Table, *, to_clips: bool) -> None:
        """Count a part by its status rows; with ``to_clips``, its clips were there before."""
        self.metrics.add(PARTS, 1)
        if to_clips:
            self.metrics.add(CLIPS, status.num_rows, ADDED)
            return
        for found in pc.value_counts(status.column("outcome")).to_pylist():
            self.metrics.add(CLIPS, found["counts"], found["values"])
