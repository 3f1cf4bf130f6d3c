"""The constant context of a run, and how its plan is made from the dataset's current state."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from base.processes.memory import release_memory
from base.storage.folder import Folder
from dataset.ledger import Ledger, Sources
from dataset.lock import WriteLock
from dataset.parts.each import apply_each
from dataset.parts.listing import list_parts
from dataset.parts.part_file import read_footer
from dataset.survey import Damage
from pipeline.graph.executor import Executor
from pipeline.graph.work import WorkFile
from pipeline.manifest import read_manifest
from pipeline.planning.artifacts import Targets
from pipeline.planning.plan import Plan, Planner, Retry
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

    def clips_in(self, parts: Sequence[str]) -> list[int]:
        """The number of clips in each of these parts."""
        folder = self.dataset / "clips"
        return apply_each(folder, lambda part: int(read_footer(folder, part).metadata.num_rows), parts)

    def lacking_parts(self, again: dict[str, set[str]], damage: Damage | None = None) -> dict[str, list[str]]:
        """By artifact, the parts of clips that it lacks or in which failed clips are retried (``again``)."""
        listed = list_parts(self.dataset, ("clips", *(target.folder for target in self.targets.clips)))
        whole = {
            folder: [part for part in parts if part not in (damage or {}).get(folder, {})]
            for folder, parts in listed.items()
        }
        lacking = {}
        for target in self.targets.clips:
            there, retried = set(whole[target.folder]), again.get(target.folder, set())
            lacking[target.folder] = [part for part in whole["clips"] if part not in there or part in retried]
        return lacking


@dataclass(frozen=True)
class Planned:
    """What a run keeps of a plan: the counts, and how often each rejected slot was tried.

    A :class:`Planner` holds all slots of the dataset, which for a million clips is most of a run's memory.
    """

    plan: Plan
    attempts: Mapping[str, int]

    @classmethod
    def of(cls, planner: Planner) -> "Planned":
        """Of a planner that has run."""
        return cls(planner.plan, planner.ledger.attempts)


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
    release_memory()  # of a million rows 200 MB, which a run would keep to its end
    return planner
