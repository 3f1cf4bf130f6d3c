"""The end of a run: checks that every planned clip is accounted for."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from base.errors import Incomplete, TooManyFailures
from base.storage.folder import Folder
from dataset.ledger import FAILED, UNSUITABLE, Ledger, Sources
from dataset.rejects import read_rejects, tidy_rejects
from pipeline.planning.plan import Plan, Planner
from pipeline.run.accounting import Account

LEAST = 200  # minimum number of clips for a meaningful share of failures
_HINTS = {
    "CaptionMissing": "Put name.txt next to name.mp4, give the caption column, or set --captions optional. ",
    "MissingFile": "Are the paths right? Relative ones are resolved against the manifest's folder, or --columns.root. ",
    "NotFetched": "",
    "Timeout": "A longer --decode.deadline-s may help. ",
}


def check_failures(max_failed: float, failed: int, settled: int, dataset: Folder, least: int = LEAST) -> None:
    """Raise TooManyFailures if more than ``max_failed`` of the clips (counted as at least ``least``) failed."""
    if failed / max(settled, least, 1) <= max_failed:
        return
    rows = read_rejects(dataset).to_pylist()
    failures = [row for row in rows if row["outcome"] == FAILED and not row["artifact"]]
    kinds = Counter(row["error_class"] for row in failures)
    common = kinds.most_common(3)
    said = f" ({', '.join(f'{count:,} {kind}' for kind, count in common)})" if common else ""
    hint = _HINTS.get(common[0][0], "") if common else ""
    raise TooManyFailures(
        f"{failed:,} of {settled:,} clips failed{said}, more than --max-failed {max_failed:g} allows. {hint}"
        "Finished work is kept; `motif inspect` shows the reasons, `motif retry` tries them again."
        + _some({row["uri"] for row in failures}, dataset)
    )


def _some(uris: set[str], dataset: Folder) -> str:
    """Three failed files, and the command that explains one."""
    if not uris:
        return ""
    names = [uri.rsplit("/", 1)[-1] for uri in sorted(uris)[:3]]
    said = ", ".join(names) + (" ..." if len(uris) > 3 else "")
    ask = f"motif dataset explain {shlex.quote(dataset.uri)} --clip {shlex.quote(names[0])}"
    return f" Failed: {said}; `{ask}` explains why."


def reconcile(
    account: Account,
    planned: Plan,
    final: Planner,
    lacking: Mapping[str, list[str]],
    dataset: Folder,
    damaged: Sequence[str] = (),
) -> None:
    """Fill in the account from the plans before and after, tidy the rejects, and check consistency.

    ``planned`` is the plan before computing, ``final`` the plan from the dataset's current state, ``lacking`` the
    parts that an artifact still lacks, ``damaged`` messages about damaged parts. Raises Incomplete if a clip is lost
    or duplicated, or something is missing.
    """
    after = final.plan
    account.reused = planned.reused
    account.planned = planned.to_compute + planned.rejected.total()
    account.written = after.reused - planned.reused
    account.failed = after.failed_before - planned.failed_before
    account.filtered = after.filtered_before - planned.filtered_before
    _tidy(final.ledger, final.sources, final.rejected_slots, dataset)
    failures = Counter(
        f"{row['stage']}: {row['error_class']}"
        for row in read_rejects(dataset).to_pylist()
        if row["outcome"] == FAILED and row["run"] == account.run
    )
    account.failures = dict(failures.most_common())
    wrong = [*_inconsistencies(account, after, final.ledger, lacking), *damaged]
    if wrong:
        raise Incomplete(f"{dataset.uri}: {'; '.join(wrong)}. Run the same command again.")
    account.complete = True


def _inconsistencies(account: Account, after: Plan, ledger: Ledger, lacking: Mapping[str, list[str]]) -> list[str]:
    wrong = []
    if account.planned != account.written + account.filtered + account.failed:
        wrong.append(
            f"{account.planned:,} clips planned, but {account.written:,} written, {account.filtered:,} filtered and "
            f"{account.failed:,} failed"
        )
    if after.to_compute or after.unprobed:
        wrong.append(f"{after.to_compute + after.unprobed:,} clips remain to be computed")
    if ledger.rows != len(ledger.clip_ids):
        wrong.append(f"{ledger.rows - len(ledger.clip_ids):,} clips are duplicated")
    wrong += [f"{folder} lacks {len(parts):,} parts" for folder, parts in lacking.items() if parts]
    return wrong


def _tidy(ledger: Ledger, sources: Sources, rejected: set[str], dataset: Folder) -> None:
    """Drop outdated rejects: of slots that are now written, and of sources and rows that are now valid."""

    def is_stale(row: dict[str, Any]) -> bool:
        if row["artifact"]:
            return False
        if row["slot"] in ledger.written:
            return True
        of_source = row["outcome"] == FAILED or row["error_class"] in UNSUITABLE
        if not of_source or row["stage"] not in ("manifest", "probe") or row["slot"] in rejected:
            return False
        at = sources.find([row["uri"]])
        return at[0] >= 0 and sources.take(at, ("error_class",)).column(0)[0].as_py() is None

    tidy_rejects(dataset, is_stale)
