"""The phases of a run. They return what later phases need; results are written to the dataset."""

from collections.abc import Iterator
from dataclasses import dataclass

from base.errors import Incomplete
from dataset.ledger import Ledger
from dataset.parts.part_file import read_part
from dataset.parts.tables import PLANNED, TEXT_KEYS
from pipeline.featurizers.base import TextFeature
from pipeline.graph.executor import TextPass
from pipeline.graph.work import CLIPS_WORK, WorkFile, WorkSink, decode_order, new_captions
from pipeline.planning.plan import Plan, Retry
from pipeline.run.clip_pass import PassInput, Verdicts, run_clip_pass
from pipeline.run.context import Planned, RunContext, make_plan
from pipeline.run.reconcile import LEAST, check_failures
from pipeline.stages.columns import WORK
from pipeline.stages.text import TextTarget


@dataclass(frozen=True)
class NewClips:
    """The result of computing new clips: the plan and the known outcomes before.

    ``poison`` has slots of clips that crash workers.
    """

    plan: Plan
    verdicts: Verdicts
    poison: frozenset[str]


def write_work(context: RunContext, retry: Retry, planned: Planned | None = None) -> tuple[Planned, WorkFile]:
    """Write the current plan: its clips to a work file, its rejects to the dataset.

    ``planned`` is the plan if already known; it is only made again if there is something to write.
    """
    with context.work_file(CLIPS_WORK, WORK, context.recipe.store.clips_a_part) as work:
        if planned is None or planned.plan.to_compute or planned.plan.rejected:
            planned = Planned.of(make_plan(context, retry, WorkSink(work, context.dataset, context.name)))
    return planned, work


def compute_clips(context: RunContext, retry: Retry, planned: Planned, work: WorkFile) -> NewClips:
    """Compute new clips with every artifact of the recipe; repeated without the clips that crash workers.

    ``planned`` and ``work`` come from :func:`write_work`.
    """
    folders = frozenset(target.folder for target in context.targets.clips)
    first = planned.plan
    poison: frozenset[str] = frozenset()
    while True:
        plan = planned.plan
        verdicts = Verdicts(plan.slots - plan.to_compute, plan.failed_before + plan.newly_failed)
        # With nothing left to compute, decide now.
        least = LEAST if plan.to_compute or plan.reused else 1
        check_failures(context.recipe.max_failed, verdicts.failed, verdicts.clips, context.dataset, least=least)
        if not work.rows:
            return NewClips(first, verdicts, poison)
        given = PassInput(work, folders, planned.attempts, False, verdicts, poison)
        found = run_clip_pass(context, given)
        if not found:
            return NewClips(first, verdicts, poison)
        poison |= found
        planned, work = write_work(context, retry)


def add_artifacts(context: RunContext, again: dict[str, set[str]], new: NewClips) -> Iterator[int]:
    """Compute missing artifacts of clips of earlier runs, aligned with their parts; yields numbers of clips.

    ``again``: by artifact, the parts in which failed clips are retried. It terminates: each pass leaves fewer parts
    without an artifact, finds clips that crash workers, or is the last.
    """
    again = {folder: set(parts) for folder, parts in again.items()}
    poison = new.poison
    while True:
        groups = _by_artifacts(context.lacking_parts(again))
        if not groups:
            return
        folders, parts = groups.popitem()
        attempts = Ledger.read(context.dataset).attempts
        with context.work_file("artifacts", WORK, max(context.clips_in(parts))) as work:
            for part in parts:
                work.add(decode_order(part, read_part(context.dataset / "clips", part, PLANNED.names)))
        given = PassInput(work, folders, attempts, True, new.verdicts, poison)
        found = run_clip_pass(context, given)
        poison |= found
        if not found:
            for folder in folders:
                again.get(folder, set()).difference_update(parts)
        lacking = context.lacking_parts(again)
        yield _count_added(context, {folder: lacking[folder] for folder in sorted(folders)}, parts, done=not found)


def _by_artifacts(lacking: dict[str, list[str]]) -> dict[frozenset[str], list[str]]:
    """Parts of clips, grouped by their missing artifacts."""
    without = {folder: set(parts) for folder, parts in lacking.items()}
    groups: dict[frozenset[str], list[str]] = {}
    for part in sorted(set().union(*without.values())):
        folders = frozenset(folder for folder, parts in without.items() if part in parts)
        groups.setdefault(folders, []).append(part)
    return groups


def _count_added(context: RunContext, lacking: dict[str, list[str]], parts: list[str], *, done: bool) -> int:
    """Clips of a pass's parts that now have all its artifacts, also after an aborted pass.

    Incomplete if a finished pass left artifacts missing, as it would be repeated forever.
    """
    without = {folder: set(parts) & set(some) for folder, some in lacking.items()}
    left = set().union(*without.values())
    if done and left:
        raise Incomplete(
            f"{context.dataset.uri}: a pass over {len(parts):,} parts did not write "
            f"{', '.join(folder for folder, some in without.items() if some)}. Is something else deleting files "
            "there? Run the same command again; what was written is kept."
        )
    return sum(context.clips_in([part for part in parts if part not in left]))


def encode_text(context: RunContext) -> Iterator[int]:
    """Encode captions without states; yields how many are written."""
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
