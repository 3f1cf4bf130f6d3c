"""Which raters are excluded, by the rules that a study fixed when it was created, and why."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.statistics.agreement import cohen_kappa
from evaluation.statistics.proportion import sign_test
from evaluation.study.study import Study
from evaluation.study.votes import Vote


@dataclass(frozen=True)
class Rater:
    """A rater's votes in figures."""

    name: str
    votes: int
    """On pairs, without gold questions."""
    gold_right: int
    gold: int
    """Gold questions answered."""
    fast: float
    """Share of all answers that took less time than a task needs."""
    left: float
    """Share of all answers that chose the left video."""
    kappa: float | None
    """Cohen's kappa with what most other raters chose, on the pairs where they have a majority."""
    excluded: tuple[str, ...]
    """Why the rater is excluded; empty for one who is kept."""


def judge_raters(study: Study, votes: Sequence[Vote]) -> tuple[Rater, ...]:
    """All raters, in order of name. A rater who answered no gold question cannot fail them."""
    by_rater: dict[str, list[Vote]] = defaultdict(list)
    by_pair: dict[str, Counter[str]] = defaultdict(Counter)
    for vote in votes:
        by_rater[vote.rater].append(vote)
        if slot := study.slots.get(vote.slot):
            by_pair[slot.pair.name][slot.model(vote.choice)] += 1
    return tuple(_judge(study, name, by_rater[name], by_pair) for name in sorted(by_rater))


def _judge(study: Study, name: str, votes: list[Vote], by_pair: dict[str, Counter[str]]) -> Rater:
    rules = study.rules
    answers = {slot: gold.answer for slot, gold in study.gold_questions.items()}
    gold = [answers[vote.slot] == vote.choice for vote in votes if vote.slot in answers]
    left = sum(vote.choice == "left" for vote in votes)
    fast = sum(vote.seconds < rules.min_seconds for vote in votes) / len(votes)
    why = []
    if gold and sum(gold) / len(gold) < rules.min_gold:
        why.append(f"{sum(gold)} of {len(gold)} gold questions right; needs {rules.min_gold:.0%}")
    if fast > rules.max_fast:
        why.append(f"{fast:.0%} of the votes in less than {rules.min_seconds:g} s; at most {rules.max_fast:.0%}")
    if sign_test(left, len(votes)) < rules.side_alpha:
        why.append(f"{left} of {len(votes)} votes for the left side, which is not chance")
    own, others = _beside_others(study, votes, by_pair)
    return Rater(
        name=name,
        votes=len(votes) - len(gold),
        gold_right=sum(gold),
        gold=len(gold),
        fast=fast,
        left=left / len(votes),
        kappa=cohen_kappa(own, others),
        excluded=tuple(why),
    )


def _beside_others(study: Study, votes: list[Vote], by_pair: dict[str, Counter[str]]) -> tuple[list[str], list[str]]:
    """A rater's choices, and the majority of the other raters on the same pairs."""
    own, others = [], []
    for vote in votes:
        if slot := study.slots.get(vote.slot):
            model = slot.model(vote.choice)
            rest = by_pair[slot.pair.name] - Counter([model])
            if rest["a"] != rest["b"]:
                own.append(str(model))
                others.append("a" if rest["a"] > rest["b"] else "b")
    return own, others
