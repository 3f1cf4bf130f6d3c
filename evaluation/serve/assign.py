"""Who is given which task: the steps of a rater, the slot of a step, and what a task shows."""

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sql
from sqlalchemy import Connection

from evaluation.serve.tables import tasks
from evaluation.study.study import Study


@dataclass(frozen=True)
class Question:
    """What a task shows; nothing in it tells a gold question from a pair, or the models apart."""

    prompt: str
    image: str
    """A file of the study, or "" if there is none."""
    left: str
    """The video on the left, a file of the study."""
    right: str


def question_of(study: Study, slot: str) -> Question:
    """What a slot or a gold question shows."""
    if gold := study.gold_questions.get(slot):
        pair = next(pair for pair in study.pairs if pair.name == gold.pair)
        return Question(pair.prompt, pair.image, gold.left, gold.right)
    shown = study.slots[slot]
    left, right = (shown.pair.a, shown.pair.b) if shown.left == "a" else (shown.pair.b, shown.pair.a)
    return Question(shown.pair.prompt, shown.pair.image, left, right)


def subject_of(study: Study, slot: str) -> str:
    """What a rater may see only once: the number of the pair, or the gold question."""
    return slot if slot in study.gold_questions else slot.rpartition("-")[0]


def make_plan(study: Study, pairs: int, rater: int) -> tuple[str, ...]:
    """The steps of a rater: a gold question's id, or "" for a pair. The same rater of a study has the same plan.

    Gold questions come in random order and evenly spread, each after at least one pair if there are enough pairs.
    """
    pairs = min(pairs, len(study.pairs))
    generator = np.random.default_rng([study.seed, rater])
    gold = [str(name) for name in generator.permutation(list(study.gold_questions))] if study.gold else []
    steps: list[str] = []
    for number, name in enumerate(gold):
        block = pairs * (number + 1) // len(gold) - pairs * number // len(gold)
        before = int(generator.integers(1, block + 1)) if block else 0
        steps += [""] * before + [name] + [""] * (block - before)
    return tuple(steps or [""] * pairs)


def pick_slot(connection: Connection, study: Study, rater: int, now: float) -> str | None:
    """A slot for a rater, of a pair that the rater has not seen; None if there is none.

    Pairs with the fewest votes and open tasks come first, in an order of the rater's own. If no slot is free, the task
    that has been overdue for longest is taken from its rater.
    """
    seen = {*connection.scalars(sql.select(tasks.c.subject).where(tasks.c.rater == rater))}
    held: Counter[str] = Counter()
    for subject, count in connection.execute(
        sql.select(tasks.c.subject, sql.func.count()).where(tasks.c.holds.is_not(None)).group_by(tasks.c.subject)
    ):
        held[subject] = count
    free = [
        (held[subject], _rank(study.seed, rater, subject), subject, len(pair.left))
        for subject, pair in ((f"{number:04}", pair) for number, pair in enumerate(study.pairs, 1))
        if subject not in seen and held[subject] < len(pair.left)
    ]
    if not free:
        return _take_overdue(connection, seen, now)
    _, _, subject, votes = min(free)
    taken = {*connection.scalars(sql.select(tasks.c.holds).where(tasks.c.subject == subject))}
    return next(slot for slot in (f"{subject}-{vote}" for vote in range(1, votes + 1)) if slot not in taken)


def _take_overdue(connection: Connection, seen: set[str], now: float) -> str | None:
    overdue = (tasks.c.status == "open") & tasks.c.holds.is_not(None) & (tasks.c.leased_until < now)
    found = connection.execute(sql.select(tasks).where(overdue).order_by(tasks.c.leased_until, tasks.c.id)).mappings()
    row = next((row for row in found.all() if row["subject"] not in seen), None)
    if row is None:
        return None
    connection.execute(tasks.update().where(tasks.c.id == row["id"]).values(status="lost", holds=None))
    return str(row["slot"])


def _rank(seed: int, rater: int, subject: str) -> bytes:
    return hashlib.sha256(f"{seed} {rater} {subject}".encode()).digest()
