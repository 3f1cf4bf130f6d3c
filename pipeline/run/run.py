"""A preprocessing run: check, plan, probe, compute, add artifacts, encode text, account for every clip."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from base.errors import DamagedFile
from dataset.lock import WriteLock
from dataset.parts.listing import finish_replacement, undisturbed
from dataset.survey import Damage
from pipeline.graph.executor import Executor
from pipeline.graph.ray_executor import RayExecutor
from pipeline.graph.work import delete_leftovers
from pipeline.manifest import read_manifest
from pipeline.planning.artifacts import choose_targets
from pipeline.planning.plan import Plan, Retry
from pipeline.planning.to_probe import SourcesToProbe
from pipeline.run.accounting import Account, plan_lines
from pipeline.run.context import Planned, RunContext, make_plan
from pipeline.run.job import Job, Rejected
from pipeline.run.phases import add_artifacts, compute_clips, encode_text, write_work
from pipeline.run.probing import probe_sources
from pipeline.run.reconcile import check_failures, reconcile
from pipeline.run.records import recorded
from pipeline.run.repair import Repair


class Run:
    """One run over a dataset. ``report`` takes lines for the user; passes run on Ray by default.

    InputError if the manifest cannot be read or the dataset does not match, before anything is written.
    """

    def __init__(self, job: Job, report: Callable[[str], None], executor: Executor | None = None) -> None:
        job = replace(job, recipe=job.recipe.resolved())
        read_manifest(job.manifest, job.columns)  # fails early if it cannot be read
        self.context = RunContext(
            name=datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ"),
            job=job,
            targets=choose_targets(job.recipe, job.dataset),
            executor=executor or RayExecutor(job.recipe.resources, job.dataset.absolute().uri),
            lock=WriteLock(job.dataset, report=report),
            report=report,
        )
        self.rejected = job.retry.find(job.dataset) if job.retry else Rejected()

    def dry_run(self) -> Plan:
        """Plan and print; nothing is written, no model is loaded, Ray is not started."""
        with undisturbed(self.context.dataset):
            return self._plan_without_damage(self._repair()).plan

    def execute(self) -> Account:
        """Execute the run. The dataset stays consistent even if the process is killed."""
        context = self.context
        account = Account(context.name)
        with context.lock:
            delete_leftovers(context.dataset / "runs")
            finish_replacement(context.dataset)
            repair = self._repair()  # under the lock, so nobody else writes
            planned = self._plan_without_damage(repair)
            with recorded(account, context.job, context.executor.stage_seconds):
                repair.set_aside()
                context.targets.catalog.write(context.dataset)
                plan = self._compute(planned, account, repair)
        for line in account.lines():
            context.report(line)
        check_failures(context.recipe.max_failed, plan.failed_before, plan.slots, context.dataset, least=1)
        return account

    def _compute(self, planned: Planned, account: Account, repair: Repair) -> Plan:
        """Run all phases; returns the final plan, which is consistent with the account."""
        context, slots = self.context, self.rejected.slots
        retry = Retry(slots, probe_sources(context, planned.plan))
        planned, work = write_work(context, retry, None if retry.probed else planned)
        if retry.probed:
            self._report_plan(_within_limit(planned.plan, context.job.limit))
        new = compute_clips(context, retry, planned, work)
        for added in add_artifacts(context, self.rejected.parts, new):
            account.artifacts_added += added
        for captions in encode_text(context):
            account.captions += captions
        final = make_plan(context, Retry(), limit=0 if context.job.limit is not None else None)
        damaged = repair.finish(context.report)
        lacking = context.lacking_parts({}, repair.damage)
        reconcile(account, new.plan, final, lacking, context.dataset, damaged)
        return final.plan

    def _repair(self) -> Repair:
        repair = Repair(self.context.dataset, self.context.targets, self.context.name)
        repair.survey()
        return repair

    def _plan_without_damage(self, repair: Repair) -> Planned:
        """Make and report the initial plan, ignoring damaged parts."""
        while True:
            try:
                planned = Planned.of(make_plan(self.context, Retry(self.rejected.slots), damage=repair.damage))
                break
            except DamagedFile as error:  # a newly found part; ends when all are noted
                repair.note(error)
        for line in repair.lines():
            self.context.report(line)
        self._report_plan(planned.plan, repair.damage)
        return planned

    def _report_plan(self, plan: Plan, damage: Damage | None = None) -> None:
        context = self.context
        lacking = context.lacking_parts(self.rejected.parts, damage)
        clips = {folder: sum(context.clips_in(parts)) for folder, parts in lacking.items()}
        for line in plan_lines(plan, (*context.targets.clips, *context.targets.text), clips):
            context.report(line)


def _within_limit(plan: Plan, limit: int | None) -> Plan:
    """A plan after the probe: sources left unprobed by a limit are beyond it."""
    if limit is None:
        return plan
    return replace(plan, unprobed=0, sources_to_probe=SourcesToProbe(), beyond_limit=plan.beyond_limit + plan.unprobed)
