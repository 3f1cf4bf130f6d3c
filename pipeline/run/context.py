"""The constant context of a run, and how its plan is made from the dataset's current state."""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from base.storage.folder import Folder
from dataset.ledger import Ledger, Sources
from dataset.lock import WriteLock
from dataset.parts.part_file import read_footer
from dataset.parts.tables import part_names
from dataset.survey import Damage
from pipeline.graph.executor import Executor
from pipeline.graph.work import WorkFile
from pipeline.manifest import read_manifest
from pipeline.planning.artifacts import Targets
from pipeline.planning.plan import Planner, Retry
from pipeline.planning.sinks import DryRun, PlanSink
from pipeline.recipes import Preprocess
from pipeline.run.job import Job


@dataclass(frozen=True)
class RunContext:
    """One run over a dataset. ``report`` takes lines for the user."""

    name: str
    job: Job
    targets: Targets
    executor: Executor
    lock: WriteLock
    report: Callable[[str], None]

    @property
    def recipe(self) -> Preprocess:
        """The recipe of the job."""
        return self.job.recipe

    @property
    def dataset(self) -> Folder:
        """The dataset's folder."""
        return self.job.dataset

    def work_file(self, name: str, schema: pa.Schema, part_rows: int | None = None) -> WorkFile:
        """A new work file for a pass."""
        return WorkFile(self.dataset / "runs", f"{self.name}.{name}", schema, part_rows)

    def clips_in(self, part: str) -> int:
        """The number of clips in a part."""
        return int(read_footer(self.dataset / "clips", part).metadata.num_rows)

    def lacking_parts(
        self, ledger: Ledger, again: dict[str, set[str]], damage: Damage | None = None
    ) -> dict[str, list[str]]:
        """By artifact, the parts of clips that it lacks or in which failed clips are retried (``again``)."""
        lacking = {}
        for target in self.targets.clips:
            broken = (damage or {}).get(target.folder, {}).keys()
            there = set(part_names(self.dataset / target.folder)) - broken
            retried = again.get(target.folder, set())
            lacking[target.folder] = [part for part in ledger.clip_parts if part not in there or part in retried]
        return lacking


def make_plan(
    context: RunContext,
    retry: Retry,
    sink: PlanSink | None = None,
    *,
    damage: Damage | None = None,
    limit: int | None = None,
) -> Planner:
    """The current plan, ignoring damaged parts. DamagedFile if reading finds another one.

    ``limit`` defaults to the job's.
    """
    job = context.job
    planner = Planner(
        job.recipe,
        Ledger.read(job.dataset, damage or {}),
        Sources.read(job.dataset, damage or {}),
        sink or DryRun(),
        limit=job.limit if limit is None else limit,
        retry=retry,
    )
    planner.run(read_manifest(job.manifest, job.columns))
    return planner
