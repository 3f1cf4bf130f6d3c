"""A preprocessing run in its order: check, plan, probe, plan again, compute, encode text, account for every clip."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from base.errors import DamagedFile, Incomplete
from dataset.ledger import FAILED, Ledger, Sources
from dataset.lock import WriteLock
from dataset.parts.footers import make_label
from dataset.parts.part_file import read_footer, read_part
from dataset.parts.tables import PLANNED, TEXT_KEYS, part_names
from pipeline.featurizers.base import TextFeature
from pipeline.graph.executor import ClipPass, Executor, ProbePass, TextPass, WorkersLost
from pipeline.graph.ray_executor import RayExecutor
from pipeline.graph.work import WorkFile, WorkSink, decode_order, delete_leftovers, new_captions
from pipeline.manifest import read_manifest
from pipeline.planning.artifacts import Targets, choose_targets
from pipeline.planning.plan import DryRun, Plan, Planner, PlanSink, Retry
from pipeline.run.accounting import Account, plan_lines
from pipeline.run.job import Job, Rejected
from pipeline.run.reconcile import LEAST, check_failures, settle
from pipeline.run.records import recorded
from pipeline.run.repair import Repair
from pipeline.stages.columns import WORK
from pipeline.stages.text import TextTarget
from pipeline.stages.write import PartWriter

_SOURCE = pa.schema([("uri", pa.string()), ("stamp", pa.string())])


class Run:
    """One run over a dataset. ``say`` takes lines for the user; the passes run on Ray unless ``executor`` is given."""

    def __init__(self, job: Job, say: Callable[[str], None], executor: Executor | None = None) -> None:
        self.job = job = replace(job, recipe=job.recipe.settled())
        self.recipe = job.recipe
        self.dataset = job.dataset
        self.lock = WriteLock(job.dataset, say=say)
        self.say = say
        self.executor = executor or RayExecutor(job.recipe.resources)
        read_manifest(job.manifest, job.columns)  # one that cannot be read fails here, before anything is written
        self.targets: Targets = choose_targets(job.recipe, job.dataset)
        self.name = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self.account = Account(self.name)
        self.repair = Repair(job.dataset, self.targets, self.name)
        rejected = job.retry.find(job.dataset) if job.retry else Rejected()
        self.retry = Retry(rejected.slots)
        self.again = rejected.parts
        self.killers: set[str] = set()
        self.planned: Plan | None = None
        self.known = self.known_failed = 0

    def dry_run(self) -> Plan:
        """Plan and print; nothing is written, no model is loaded, Ray is not started."""
        return self._first_plan()

    def execute(self) -> Account:
        """Do what is to do. The dataset is consistent at every moment, whenever this is killed."""
        with self.lock:
            delete_leftovers(self.dataset / "runs")
            first = self._first_plan()
            with recorded(self.account, self.job, self.executor.stage_seconds):
                self.repair.set_aside()
                self.targets.catalog.write(self.dataset)
                self._probe(first)
                self._compute_clips()
                self._add_artifacts()
                self._encode_text()
                final = self._plan(DryRun(), limit=0 if self.job.limit is not None else None)
                assert self.planned is not None
                wrong = self.repair.finish(self.say)
                settle(self.account, self.planned, final, self._lacking_parts(), self.dataset, wrong)
        for line in self.account.lines():
            self.say(line)
        check_failures(self.recipe.max_failed, final.plan.failed_before, final.plan.slots, self.dataset, least=1)
        return self.account

    # -- the plan ----------------------------------------------------------------------------------------------------

    def _first_plan(self) -> Plan:
        """The plan before anything is done, without what is damaged."""
        self.repair.survey()
        while True:
            try:
                plan = self._plan(DryRun()).plan
                break
            except DamagedFile as error:  # of a part that is not noted yet: it ends with the parts
                self.repair.note(error)
        for line in self.repair.lines():
            self.say(line)
        return self._say_plan(plan)

    def _plan(self, sink: PlanSink, limit: int | None = None) -> Planner:
        damage = self.repair.damage
        self.ledger = Ledger.read(self.dataset, damage)
        limit = self.job.limit if limit is None else limit
        sources = Sources.read(self.dataset, damage)
        planner = Planner(self.recipe, self.ledger, sources, sink, limit=limit, retry=self.retry)
        planner.run(read_manifest(self.job.manifest, self.job.columns))
        return planner

    def _say_plan(self, plan: Plan) -> Plan:
        lacking = {
            folder: sum(self._part_rows(part) for part in parts) for folder, parts in self._lacking_parts().items()
        }
        for line in plan_lines(plan, (*self.targets.clips, *self.targets.text), lacking):
            self.say(line)
        return plan

    def _lacking_parts(self) -> dict[str, list[str]]:
        """Parts of clips that an artifact does not have yet, or in which failed clips are to be tried again."""
        lacking = {}
        for target in self.targets.clips:
            there = set(part_names(self.dataset / target.folder)) - self.repair.damage.get(target.folder, {}).keys()
            again = self.again.get(target.folder, set())
            lacking[target.folder] = [part for part in self.ledger.clip_parts if part not in there or part in again]
        return lacking

    def _part_rows(self, part: str) -> int:
        return int(read_footer(self.dataset / "clips", part).metadata.num_rows)

    # -- the stages --------------------------------------------------------------------------------------------------

    def _probe(self, plan: Plan) -> None:
        sources = plan.sources_to_probe
        if not sources:
            return
        order = Sources.read(self.dataset).next_order
        with self._work("sources", _SOURCE) as work:
            work.add(pa.table([list(sources), list(sources.values())], schema=_SOURCE))
        for _ in self.executor.probe(ProbePass(work.uri, work.rows, self.lock.fence, self.recipe.decode, order)):
            self.lock.check()
        work.delete()
        self.retry = Retry(self.retry.slots, frozenset(sources))
        known = self._plan(DryRun()).plan
        if self.job.limit is not None:  # what the limit kept from the probe is not for this run
            known = replace(known, unprobed=0, sources_to_probe={}, beyond_limit=known.beyond_limit + known.unprobed)
        self._say_plan(known)

    def _compute_clips(self) -> None:
        """New clips, with every artifact of the recipe; again where workers died, without the clips that kill them."""
        folders = frozenset(target.folder for target in self.targets.clips)
        done = False
        while not done:
            with self._work("clips", WORK, self.recipe.store.clips_a_part) as work:
                plan = self._plan(WorkSink(work, self.dataset, self.name)).plan
            self.planned = self.planned or plan
            self.known_failed = plan.failed_before + plan.newly_failed
            self.known = plan.slots - plan.to_compute
            # Where nothing is left to wait for, the verdict need not wait either.
            hopeless = not (plan.to_compute or plan.reused)
            check_failures(
                self.recipe.max_failed, self.known_failed, self.known, self.dataset, least=1 if hopeless else LEAST
            )
            done = not work.rows or self._run_graph(work, folders, adds_to_clips=False)
        self.retry = Retry()

    def _add_artifacts(self) -> None:
        """Artifacts that clips of earlier runs lack, part by part, aligned with the clips.

        It ends: each pass leaves fewer parts that lack an artifact, or names clips that kill workers, or is the last.
        """
        while groups := self._lacking_groups():
            folders, parts = groups.popitem()
            with self._work("artifacts", WORK, max(self._part_rows(part) for part in parts)) as work:
                for part in parts:
                    work.add(decode_order(part, read_part(self.dataset / "clips", part, PLANNED.names)))
            done = self._run_graph(work, folders, adds_to_clips=True)
            for folder in folders if done else ():
                self.again.get(folder, set()).difference_update(parts)
            self._count_added(folders, parts, done=done)

    def _count_added(self, folders: frozenset[str], parts: list[str], *, done: bool) -> None:
        """Count what a pass brought, also one whose workers died.

        Incomplete where a pass that is done did not bring what it was for: it would be run again and again.
        """
        lacking = self._lacking_parts()
        without = {folder: set(parts) & set(lacking[folder]) for folder in sorted(folders)}
        left = set().union(*without.values())
        self.account.artifacts_added += sum(self._part_rows(part) for part in parts if part not in left)
        if done and left:
            raise Incomplete(
                f"{self.dataset.uri}: a pass over {len(parts):,} parts left them without "
                f"{', '.join(folder for folder, some in without.items() if some)}. Is something else deleting files "
                "there? Run the same command again; what was written is kept."
            )

    def _lacking_groups(self) -> dict[frozenset[str], list[str]]:
        """Parts of clips by the artifacts that they lack."""
        self.ledger = Ledger.read(self.dataset)
        lacking = {folder: set(parts) for folder, parts in self._lacking_parts().items()}
        groups: dict[frozenset[str], list[str]] = {}
        for part in self.ledger.clip_parts:
            folders = frozenset(folder for folder, parts in lacking.items() if part in parts)
            if folders:
                groups.setdefault(folders, []).append(part)
        return groups

    def _writer(self, folders: frozenset[str], *, adds_to_clips: bool) -> PartWriter:
        features = self.targets.features(folders)
        return PartWriter(
            dataset=self.dataset,
            clips_label=make_label("clips", self.recipe.clips_identity()),
            artifacts={
                folder: (
                    feature.columns(self.recipe.shape),
                    self.targets.catalog.artifacts[folder].label,
                )
                for folder, feature in features.items()
            },
            store=self.recipe.store,
            rules=self.recipe.rules,
            run=self.name,
            attempts=self.ledger.attempts,
            adds_to_clips=adds_to_clips,
            fence=self.lock.fence,
        )

    def _run_graph(self, work: WorkFile, folders: frozenset[str], *, adds_to_clips: bool) -> bool:
        """Run the clip graph over a work file; False where workers died and the clips that kill them are now known."""
        job = ClipPass(
            work=work.uri,
            rows=work.rows,
            part_rows=work.part_rows or work.rows,
            features=self.targets.features(folders),
            shape=self.recipe.shape,
            limits=self.recipe.decode,
            writer=self._writer(folders, adds_to_clips=adds_to_clips),
            killers=frozenset(self.killers),
            clips=work.clips,
        )
        settled = failed = 0
        try:
            with closing(self.executor.compute_clips(job)) as parts:
                for status in parts:
                    self.lock.check()
                    settled += status.num_rows
                    failed += pc.sum(pc.equal(status.column("outcome"), FAILED)).as_py() or 0
                    self._check_failures(failed, settled)
            return True
        except WorkersLost as lost:
            killers = lost.killers - self.killers
            if not killers:
                raise Incomplete(
                    f"worker processes keep dying ({lost}) and no clip is to blame. Look at the memory and the Ray "
                    "logs, then run the same command again; what was written is kept."
                ) from lost
            self.killers |= killers
            self.say(f"{len(killers)} clips kill the worker that computes them; the run goes on without them")
            return False
        finally:
            work.delete()

    def _encode_text(self) -> None:
        """States of captions that have none yet."""
        for target in self.targets.text:
            assert isinstance(target.feature, TextFeature)
            with self._work("text", TEXT_KEYS) as work:
                for captions in new_captions(self.dataset, target.folder):
                    work.add(captions)
            if not work.rows:
                continue
            columns = target.feature.columns(self.recipe.shape)
            place = TextTarget(
                self.dataset, target.folder, columns, self.recipe.store, target.artifact.label, self.lock.fence
            )
            for count in self.executor.encode_text(TextPass(work.uri, work.parts, target.feature, place, work.rows)):
                self.account.captions += count
            work.delete()

    # -- around them -------------------------------------------------------------------------------------------------

    def _work(self, name: str, schema: pa.Schema, part_rows: int | None = None) -> WorkFile:
        return WorkFile(self.dataset / "runs", f"{self.name}.{name}", schema, part_rows)

    def _check_failures(self, failed: int, settled: int) -> None:
        """Stop where too many clips have failed, those that the plan already knows of counted in."""
        check_failures(self.recipe.max_failed, self.known_failed + failed, self.known + settled, self.dataset)
