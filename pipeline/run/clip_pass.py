"""One pass of the clip graph over a work file: its input, early stop, and clips that crash workers."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import pyarrow.compute as pc

from base.errors import Incomplete
from dataset.ledger import FAILED
from dataset.parts.footers import make_label
from pipeline.graph.executor import ClipPass, WorkersLost
from pipeline.graph.work import WorkFile
from pipeline.run.context import RunContext
from pipeline.run.reconcile import check_failures
from pipeline.stages.write import PartWriter


@dataclass(frozen=True)
class Verdicts:
    """Counts of clips with a known outcome before a pass, and of failed ones among them."""

    clips: int = 0
    failed: int = 0


@dataclass(frozen=True)
class PassInput:
    """The input of a pass: clips of a work file, artifacts by folder, and ``attempts`` of each slot so far.

    ``poison`` has slots of clips that crash workers; they fail without being tried.
    """

    work: WorkFile
    folders: frozenset[str]
    attempts: Mapping[str, int]
    adds_to_clips: bool
    verdicts: Verdicts
    poison: frozenset[str] = frozenset()


def run_clip_pass(context: RunContext, given: PassInput) -> frozenset[str]:
    """Run the clip graph. If clips crashed workers, the pass was aborted and their slots are returned.

    TooManyFailures if more clips fail than the recipe allows, including those in ``verdicts``; Incomplete if workers
    die and no clip is the cause.
    """
    work, known = given.work, given.verdicts
    job = ClipPass(
        work=work.uri,
        rows=work.rows,
        part_rows=work.part_rows or work.rows,
        features=context.targets.features(given.folders),
        shape=context.recipe.shape,
        limits=context.recipe.decode,
        writer=_writer(context, given),
        poison=given.poison,
        clips=work.clips,
    )
    done = failed = 0
    try:
        with closing(context.executor.compute_clips(job)) as parts:
            for status in parts:
                context.lock.check()
                done += status.num_rows
                failed += pc.sum(pc.equal(status.column("outcome"), FAILED)).as_py() or 0
                check_failures(context.recipe.max_failed, known.failed + failed, known.clips + done, context.dataset)
        return frozenset()
    except WorkersLost as lost:
        found = lost.poison - given.poison
        if not found:
            raise Incomplete(
                f"worker processes keep dying ({lost}) and no clip is the cause. Check memory and the Ray "
                "logs, then run the same command again; finished work is kept."
            ) from lost
        context.report(f"{len(found)} clips crash workers; the run continues without them")
        return found
    finally:
        work.delete()


def _writer(context: RunContext, given: PassInput) -> PartWriter:
    recipe, targets = context.recipe, context.targets
    features = targets.features(given.folders)
    return PartWriter(
        dataset=context.dataset,
        clips_label=make_label("clips", recipe.clips_identity()),
        artifacts={
            folder: (feature.columns(recipe.shape), targets.catalog.artifacts[folder].label)
            for folder, feature in features.items()
        },
        store=recipe.store,
        rules=recipe.rules,
        run=context.name,
        attempts=given.attempts,
        adds_to_clips=given.adds_to_clips,
        fence=context.lock.fence,
    )
