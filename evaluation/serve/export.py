"""Votes as `motif study score` reads them, and raters as whoever pays them needs it."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from evaluation.serve.store import Rater, VoteStore
from evaluation.study.study import Study
from evaluation.study.votes import Vote


def votes_csv(votes: Sequence[Vote]) -> str:
    """The file that :func:`evaluation.study.votes.read_votes` reads."""
    rows = [(vote.slot, vote.rater, vote.choice, f"{vote.seconds:.3f}", ";".join(vote.reasons)) for vote in votes]
    return _table(("slot", "rater", "choice", "seconds", "reasons"), rows)


def raters_csv(store: VoteStore) -> str:
    """All raters: how far they are, how they answered the gold questions, their codes, and a platform's ids.

    The status is "complete", "excluded" or "begun"; times are in UTC.
    """
    by_rater: dict[str, list[Vote]] = defaultdict(list)
    for vote in store.votes():
        by_rater[vote.rater].append(vote)
    rows = [_rater(store, rater, by_rater[rater.name]) for rater in store.raters()]
    names = ("rater", "status", "votes", "gold_right", "gold", "code", "begun", "completed", "excluded", "ids")
    return _table(names, rows)


def summarize(study: Study, votes: Sequence[Vote], raters: Sequence[Rater]) -> dict[str, int]:
    """How far a study is, in numbers."""
    return {
        "votes": sum(vote.slot in study.slots for vote in votes),
        "slots": len(study.slots),
        "gold_answers": sum(vote.slot in study.gold_questions for vote in votes),
        "raters": len(raters),
        "complete": sum(status_of(rater) == "complete" for rater in raters),
        "excluded": sum(status_of(rater) == "excluded" for rater in raters),
    }


def status_of(rater: Rater) -> str:
    """How far a rater is, in a word."""
    return "excluded" if rater.excluded else "begun" if rater.completed_at is None else "complete"


def _rater(store: VoteStore, rater: Rater, votes: Sequence[Vote]) -> tuple[object, ...]:
    gold = store.study.gold_questions
    answers = [gold[vote.slot].answer == vote.choice for vote in votes if vote.slot in gold]
    status = status_of(rater)
    code = rater.code if status == "complete" else ""
    times = ["" if at is None else _utc(at) for at in (rater.begun_at, rater.completed_at)]
    on_pairs = len(votes) - len(answers)
    ids = json.dumps(rater.ids) if rater.ids else ""
    return (rater.name, status, on_pairs, sum(answers), len(answers), code, *times, rater.excluded, ids)


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return text.getvalue()
