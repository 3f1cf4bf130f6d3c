"""The phases of a run. Each takes what it needs and returns what it found; what they wrote lies in the dataset."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from base.errors import Incomplete
from dataset.ledger import Ledger, Sources
from dataset.parts.part_file import read_part
from dataset.parts.tables import PLANNED, TEXT_KEYS
from pipeline.featurizers.base import TextFeature
from pipeline.graph.executor import ProbePass, TextPass
from pipeline.graph.work import WorkFile, WorkSink, decode_order, new_captions
from pipeline.planning.plan import Plan, Planner, Retry
from pipeline.run.clip_pass import PassInput, Verdicts, run_clip_pass
from pipeline.run.context import RunContext, make_plan
from pipeline.run.reconcile import LEAST, check_failures
from pipeline.stages.columns import WORK
from pipeline.stages.text import TextTarget

_SOURCE = pa.schema([("uri", pa.string()), ("stamp", pa.string())])


def probe_sources(context: RunContext, plan: Plan) -> frozenset[str]:
    """Probe the sources of a plan that were never probed; returns them."""
    sources = plan.sources_to_probe
    if not sources:
        return frozenset()
    order = Sources.read(context.dataset).next_order
    with context.work_file("sources", _SOURCE) as work:
        work.add(pa.table([list(sources), list(sources.values())], schema=_SOURCE))
    job = ProbePass(work.uri, work.rows, context.lock.fence, context.recipe.decode, order)
    for _ in context.executor.probe(job):
        context.lock.check()
    work.delete()
    return frozenset(sources)


@dataclass(frozen=True)
class NewClips:
    """What computing new clips found: the plan before any was computed, and what the dataset knew of each clip then.

    ``poison`` are slots of clips that kill workers.
    """

    plan: Plan
    verdicts: Verdicts
    poison: frozenset[str]


def write_work(context: RunContext, retry: Retry, planned: Planner | None = None) -> tuple[Planner, WorkFile]:
    """The plan of now, its clips in a work file and its rejects in the dataset.

    ``planned`` is the plan where it is known already; it is made again only where there is something to write.
    """
    with context.work_file("clips", WORK, context.recipe.store.clips_a_part) as work:
        if planned is None or planned.plan.to_compute or planned.plan.rejected:
            planned = make_plan(context, retry, WorkSink(work, context.dataset, context.name))
    return planned, work


def compute_clips(context: RunContext, retry: Retry, planned: Planner, work: WorkFile) -> NewClips:
    """New clips, with every artifact of the recipe; again where workers died, without the clips that kill them.

    ``planned`` and ``work`` are of :func:`write_work`.
    """
    folders = frozenset(target.folder for target in context.targets.clips)
    first = planned.plan
    poison: frozenset[str] = frozenset()
    while True:
        plan = planned.plan
        verdicts = Verdicts(plan.slots - plan.to_compute, plan.failed_before + plan.newly_failed)
        # Where nothing is left to wait for, the verdict need not wait either.
        least = LEAST if plan.to_compute or plan.reused else 1
        check_failures(context.recipe.max_failed, verdicts.failed, verdicts.clips, context.dataset, least=least)
        if not work.rows:
            return NewClips(first, verdicts, poison)
        given = PassInput(work, folders, planned.ledger.attempts, False, verdicts, poison)
        found = run_clip_pass(context, given)
        if not found:
            return NewClips(first, verdicts, poison)
        poison |= found
        planned, work = write_work(context, retry)


def add_artifacts(context: RunContext, again: dict[str, set[str]], new: NewClips) -> Iterator[int]:
    """Artifacts that clips of earlier runs lack, part by part, aligned with the clips; yields clips that got one.

    ``again``: by artifact the parts in which failed clips are tried once more. It ends: each pass leaves fewer parts
    that lack an artifact, or names clips that kill workers, or is the last.
    """
    again = {folder: set(parts) for folder, parts in again.items()}
    poison = new.poison
    while True:
        ledger = Ledger.read(context.dataset)
        lacking = context.lacking_parts(ledger, again)
        groups = _by_artifacts(ledger, lacking)
        if not groups:
            return
        folders, parts = groups.popitem()
        with context.work_file("artifacts", WORK, max(context.clips_in(part) for part in parts)) as work:
            for part in parts:
                work.add(decode_order(part, read_part(context.dataset / "clips", part, PLANNED.names)))
        given = PassInput(work, folders, ledger.attempts, True, new.verdicts, poison)
        found = run_clip_pass(context, given)
        poison |= found
        if not found:
            for folder in folders:
                again.get(folder, set()).difference_update(parts)
        lacking = context.lacking_parts(ledger, again)
        yield _count_added(context, {folder: lacking[folder] for folder in sorted(folders)}, parts, done=not found)


def _by_artifacts(ledger: Ledger, lacking: dict[str, list[str]]) -> dict[frozenset[str], list[str]]:
    """Parts of clips by the artifacts that they lack."""
    without = {folder: set(parts) for folder, parts in lacking.items()}
    groups: dict[frozenset[str], list[str]] = {}
    for part in ledger.clip_parts:
        folders = frozenset(folder for folder, parts in without.items() if part in parts)
        if folders:
            groups.setdefault(folders, []).append(part)
    return groups


def _count_added(context: RunContext, lacking: dict[str, list[str]], parts: list[str], *, done: bool) -> int:
    """Clips of a pass's parts that have all its artifacts now, also after a pass whose workers died.

    Incomplete where a pass that is done did not bring what it was for: it would be run again and again.
    """
    without = {folder: set(parts) & set(some) for folder, some in lacking.items()}
    left = set().union(*without.values())
    if done and left:
        raise Incomplete(
            f"{context.dataset.uri}: a pass over {len(parts):,} parts left them without "
            f"{', '.join(folder for folder, some in without.items() if some)}. Is something else deleting files "
            "there? Run the same command again; what was written is kept."
        )
    return sum(context.clips_in(part) for part in parts if part not in left)


def encode_text(context: RunContext) -> Iterator[int]:
    """States of captions that have none yet; yields how many are written."""
    for target in context.targets.text:
        assert isinstance(target.feature, TextFeature)
        with context.work_file("text", TEXT_KEYS) as work:
            for new in new_captions(context.dataset, target.folder):
                work.add(new)
        if not work.rows:
            continue
        columns = target.feature.columns(context.recipe.shape)
        place = TextTarget(
            context.dataset, target.folder, columns, context.recipe.store, target.artifact.label, context.lock.fence
        )
        yield from context.executor.encode_text(TextPass(work.uri, work.parts, target.feature, place, work.rows))
        work.delete()
