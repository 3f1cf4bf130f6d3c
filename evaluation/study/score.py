"""What the votes of a study say: which model is preferred, by how much, why, and how far raters agree."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from evaluation.statistics.agreement import fleiss_kappa, krippendorff_alpha
from evaluation.statistics.bootstrap import cluster_bootstrap, draw_clusters
from evaluation.statistics.estimate import Estimate
from evaluation.statistics.proportion import sign_test, smallest_significant, wilson
from evaluation.study.raters import Rater, judge_raters
from evaluation.study.study import Pair, Study
from evaluation.study.votes import REASONS, Vote


@dataclass(frozen=True)
class Majority:
    """The pairs in which most raters prefer model a. Pairs with as many votes for either are left out, and counted."""

    pairs: int
    tied: int
    share: Estimate
    """With Wilson's interval, which takes pairs as independent."""
    by_scene: Estimate
    """The same share with the interval of a bootstrap over scenes."""
    p_value: float
    """Of the exact two-sided sign test."""
    smallest_significant: float | None
    """The smallest share that would be significant for so many pairs."""


@dataclass(frozen=True)
class Reason:
    """The shares of all votes that prefer a model and give this reason, with intervals over scenes."""

    a: Estimate
    b: Estimate


@dataclass(frozen=True)
class Agreement:
    """How far raters of the same pair agree."""

    alpha: float | None
    """Krippendorff's, nominal."""
    fleiss: float | None
    """Fleiss' kappa; None if pairs have different numbers of votes."""
    complete: float
    """Share of the pairs with at least two votes in which all agree."""
    partial: float
    split: float
    """Share of these pairs with as even a split as the number of votes allows, such as 3 to 2."""


@dataclass(frozen=True)
class Position:
    """Whether raters prefer a side, whatever it shows."""

    left: Estimate
    p_value: float


@dataclass(frozen=True)
class Result:
    """What some of the votes say."""

    raters: int
    votes: int
    preference: Estimate
    """The share of votes for model a, with an interval over scenes."""
    majority: Majority | None
    """None if all pairs are tied."""
    reasons: dict[str, Reason]
    agreement: Agreement | None
    """None if no pair has two votes."""
    position: Position


@dataclass(frozen=True)
class Score:
    """The result of a study with and without the excluded raters. Gold questions count for neither."""

    a: str
    b: str
    pairs: int
    slots: int
    scenes: int
    result: Result | None
    """Without the excluded raters; None if nobody is left."""
    with_excluded: Result | None
    raters: tuple[Rater, ...]


def score_study(study: Study, votes: Sequence[Vote]) -> Score:
    """Score votes on a study; the same votes give the same score, whatever their order."""
    raters = judge_raters(study, votes)
    kept = {rater.name for rater in raters if not rater.excluded}
    on_pairs = [vote for vote in votes if vote.slot in study.slots]
    scenes = len({pair.scene for pair in study.pairs})
    result = summarize(study, [vote for vote in on_pairs if vote.rater in kept])
    with_excluded = summarize(study, on_pairs)
    return Score(study.a, study.b, len(study.pairs), len(study.slots), scenes, result, with_excluded, raters)


def summarize(study: Study, votes: Sequence[Vote]) -> Result | None:
    """What these votes on pairs say; None if there are none."""
    if not votes:
        return None
    numbers = {pair.name: number for number, pair in enumerate(study.pairs)}
    counts = np.zeros((len(REASONS) + 1, len(numbers), 2), np.int64)  # of all votes, and of those with each reason
    for vote in votes:
        slot = study.slots[vote.slot]
        at = numbers[slot.pair.name], "ab".index(slot.model(vote.choice))
        counts[0, *at] += 1
        for number, reason in enumerate(REASONS, 1):
            counts[number, *at] += reason in vote.reasons
    total, scenes = counts[0].sum(1), _Scenes(study.pairs, study.seed)
    reasons = {
        reason: Reason(scenes.share(given[:, 0], total), scenes.share(given[:, 1], total))
        for reason, given in zip(REASONS, counts[1:], strict=True)
    }
    left = sum(vote.choice == "left" for vote in votes)
    return Result(
        raters=len({vote.rater for vote in votes}),
        votes=len(votes),
        preference=scenes.share(counts[0, :, 0], total),
        majority=_majority(counts[0], scenes),
        reasons=reasons,
        agreement=_agreement(counts[0]),
        position=Position(wilson(left, len(votes)), sign_test(left, len(votes))),
    )


class _Scenes:
    """Shares with intervals over the scenes of pairs, all from the same resamples."""

    def __init__(self, pairs: Sequence[Pair], seed: int) -> None:
        self._names, self._scene = np.unique([pair.scene for pair in pairs], return_inverse=True)
        self._seed = seed
        self._drawn: dict[int, Float[np.ndarray, "r c"]] = {}

    def share(self, hits: Int[np.ndarray, " n"], totals: Int[np.ndarray, " n"]) -> Estimate:
        """The share of hits in the totals of all pairs; scenes without any are left out."""
        sums = [np.bincount(self._scene, values, len(self._names)) for values in (hits, totals)]
        there = sums[1] > 0
        return cluster_bootstrap(sums[0][there], sums[1][there], self._draw(int(there.sum())))

    def _draw(self, clusters: int) -> Float[np.ndarray, "r c"]:
        if clusters not in self._drawn:
            self._drawn[clusters] = draw_clusters(clusters, np.random.default_rng(self._seed))
        return self._drawn[clusters]


def _majority(counts: Int[np.ndarray, "n 2"], scenes: _Scenes) -> Majority | None:
    wins, losses = counts[:, 0] > counts[:, 1], counts[:, 0] < counts[:, 1]
    tied = int(((counts[:, 0] == counts[:, 1]) & (counts.sum(1) > 0)).sum())
    won, decided = int(wins.sum()), int((wins | losses).sum())
    if not decided:
        return None
    by_scene = scenes.share(wins.astype(np.int64), (wins | losses).astype(np.int64))
    return Majority(
        decided, tied, wilson(won, decided), by_scene, sign_test(won, decided), smallest_significant(decided)
    )


def _agreement(counts: Int[np.ndarray, "n 2"]) -> Agreement | None:
    judged = counts[counts.sum(1) >= 2]
    if not len(judged):
        return None
    fewer, votes = judged.min(1), judged.sum(1)
    complete, split = float((fewer == 0).mean()), float((fewer == votes // 2).mean())
    return Agreement(krippendorff_alpha(counts), fleiss_kappa(judged), complete, 1 - complete - split, split)
