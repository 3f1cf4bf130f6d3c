"""Planned clips for a benchmark: what a run has in hand when its clip graph starts, made in this process."""

import pyarrow as pa

from dataset.ledger import Ledger, Sources
from pipeline.manifest import ManifestColumns, read_manifest
from pipeline.manifest.stamps import stamp_all
from pipeline.planning.plan import Planner
from pipeline.planning.sinks import DryRun
from pipeline.recipes import Preprocess
from pipeline.stages.probe import probe_rows
from pipeline.video.process.worker import VideoWorker


class Planned(DryRun):
    """A sink that keeps the parts of clips, as (name, rows of :data:`dataset.parts.tables.PLANNED`)."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, pa.Table]] = []

    def clips(self, part: str, rows: pa.Table) -> None:
        """Keep a part."""
        self.parts.append((part, rows))


def plan_clips(recipe: Preprocess, manifest: str) -> list[tuple[str, pa.Table]]:
    """Probe the videos of a manifest (or of a folder) and plan their clips with the project's own planner."""
    batches = list(read_manifest(manifest, ManifestColumns()))
    uris = list(dict.fromkeys(uri for batch in batches for uri in batch.column("uri").to_pylist()))
    worker = VideoWorker(recipe.decode)
    try:
        facts = probe_rows(pa.table({"uri": uris, "stamp": [stamp or "" for stamp in stamp_all(uris)]}), worker)
    finally:
        worker.close()
    sink = Planned()
    Planner(recipe, Ledger(), Sources.of(facts), sink).run(batches)
    return sink.parts
