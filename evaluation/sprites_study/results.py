"""What the finished runs of a study say: rates, differences between arms, and the paper's comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.sprites.summary import Scored, Summary, mean_by_scene, summarise
from evaluation.sprites_study.arms import ARMS, REFERENCE, Arm
from evaluation.sprites_study.run import RunResult, read_result, read_scores
from evaluation.sprites_study.study import RunPlan, Study, compared
from evaluation.statistics.estimate import Estimate
from evaluation.statistics.mean import t_interval

BASE = "none"
"""The arm to which differences are taken."""


@dataclass(frozen=True)
class ArmResult:
    """The finished runs of an arm: all their videos together, and the right ones by seed."""

    arm: Arm
    runs: tuple[RunResult, ...]
    summary: Summary
    right_by_seed: dict[int, float]


@dataclass(frozen=True)
class Difference:
    """Right videos of an arm minus those of the arm without motion loss, on the same images and seeds.

    ``over_images`` holds for these trained models, with an interval over images. ``over_seeds`` is for others trained
    in the same way: a t interval over seeds, None with fewer than two.
    """

    over_images: Estimate
    over_seeds: Estimate | None


@dataclass(frozen=True)
class Comparison:
    """How often the reference is better than another arm, video by video: the paper's question, answered exactly.

    A video is better if it is right and the other is not, or, if both are or neither, if its displacement error is
    smaller; an equal one counts half. The interval is over images.
    """

    arm: Arm
    wins: Estimate
    pairs: int


@dataclass(frozen=True)
class Results:
    """Results of a study as far as it is. ``missing`` are runs that are not finished."""

    arms: dict[str, ArmResult]
    differences: dict[str, Difference]
    comparisons: tuple[Comparison, ...]
    missing: tuple[RunPlan, ...]


def read_results(study: Study) -> Results:
    """The results of all finished runs. Arms are compared on the seeds that both have."""
    finished = {plan: found for plan in study.runs if (found := read_result(study, plan))}
    scores = {plan: read_scores(study, plan) for plan in finished}
    arms = {}
    for name in (arm for arm in ARMS if arm in study.arms):
        plans = [plan for plan in finished if plan.arm == name]
        if plans:
            videos = [one for plan in plans for one in scores[plan]]
            by_seed = {plan.seed: _right(scores[plan]) for plan in plans}
            runs = tuple(finished[plan] for plan in plans)
            arms[name] = ArmResult(ARMS[name], runs, summarise(videos), by_seed)
    differences = {name: _difference(scores, name) for name in arms if name != BASE}
    comparisons = [_compare(scores, name) for name in compared(tuple(arms))]
    return Results(
        arms,
        {name: one for name, one in differences.items() if one},
        tuple(one for one in comparisons if one),
        tuple(plan for plan in study.runs if plan not in finished),
    )


def _right(videos: Sequence[Scored]) -> float:
    return sum(one.score.right for one in videos) / len(videos)


def _common_seeds(scores: Mapping[RunPlan, Sequence[Scored]], one: str, other: str) -> list[int]:
    return [plan.seed for plan in scores if plan.arm == one and RunPlan(other, plan.seed) in scores]


def _pairs(scores: Mapping[RunPlan, Sequence[Scored]], one: str, other: str) -> list[tuple[Scored, Scored]]:
    """The videos of two arms for the same pair and seed."""
    found: list[tuple[Scored, Scored]] = []
    for seed in _common_seeds(scores, one, other):
        found += zip(scores[RunPlan(one, seed)], scores[RunPlan(other, seed)], strict=True)
    return found


def _difference(scores: Mapping[RunPlan, Sequence[Scored]], arm: str) -> Difference | None:
    pairs = _pairs(scores, arm, BASE)
    if not pairs:
        return None
    values = [float(one.score.right) - float(other.score.right) for one, other in pairs]
    over_images = mean_by_scene(values, [one.score.scene for one, _ in pairs])
    seeds = _common_seeds(scores, arm, BASE)
    each = [_right(scores[RunPlan(arm, seed)]) - _right(scores[RunPlan(BASE, seed)]) for seed in seeds]
    return Difference(over_images, t_interval(each) if len(each) > 1 else None)


def _compare(scores: Mapping[RunPlan, Sequence[Scored]], arm: str) -> Comparison | None:
    pairs = _pairs(scores, REFERENCE, arm)
    if not pairs:
        return None
    wins = [_win(one, other) for one, other in pairs]
    return Comparison(ARMS[arm], mean_by_scene(wins, [one.score.scene for one, _ in pairs]), len(pairs))


def _win(one: Scored, other: Scored) -> float:
    """1 if the first video is better, 0 if the second is, 0.5 if they are equal."""
    first, second = ((video.score.right, -video.score.error) for video in (one, other))
    return 0.5 if first == second else float(first > second)
