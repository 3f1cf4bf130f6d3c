"""What raters prefer, from results of ``motif study score``. Raters are counted, and not named."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from evaluation.report.content import Missing, Section, Table
from evaluation.report.results import Found
from evaluation.study.score import Result, Score
from evaluation.study.table import figures, percent_interval
from evaluation.study.votes import REASONS

_TEXT = (
    "Votes of raters who saw two videos of the same prompt and had to choose one. Preference: a share of all votes. "
    "Pairs won: the share of pairs in which most raters agree, which looks larger than the preference. Intervals "
    "are at 95 %."
)

_FORM = "motif study score STUDY VOTES.csv --out SCORE.json"
_MAKE = (
    "motif study create A_VIDEOS B_VIDEOS --prompts PAIRS.csv --out STUDY",
    "motif study serve STUDY",
    "motif study export STUDY --out VOTES.csv",
    f"{_FORM}; then give --study SCORE.json here",
)


def study_section(results: Sequence[Found[Score]]) -> Section:
    """The section."""
    missing = () if results else (Missing("a human study: no result of `motif study score`", _MAKE),)
    return Section(
        key="study",
        title="Human study",
        text=_TEXT,
        tables=tuple(table for found in results for table in _tables(found)),
        missing=missing,
        commands=tuple(found.made_by(_FORM) for found in results),
        values=[_values(found) for found in results] or None,
    )


def sentences(results: Sequence[Found[Score]]) -> list[str]:
    """The preference in words."""
    found = []
    for one in results:
        score = one.result
        if score.result is None:
            found.append(f"{score.a} against {score.b}: no rater is left, all are excluded.")
            continue
        majority = score.result.majority
        won = (
            f", and win {percent_interval(majority.share)} of the pairs (p = {majority.p_value:.2g})"
            if majority
            else ""
        )
        found.append(
            f"Raters prefer {score.a} to {score.b} in {percent_interval(score.result.preference)} of "
            f"{score.result.votes:,} votes{won}."
        )
    return found


def _tables(found: Found[Score]) -> list[Table]:
    score = found.result
    with_all, without = figures(score.with_excluded, score), figures(score.result, score)
    rows = tuple((name.strip(), without.get(name, "-"), with_all.get(name, "-")) for name in with_all or without)
    title = f"{score.a} against {score.b}: {score.pairs:,} pairs of {score.scenes:,} scenes ({found.place})"
    reasons = tuple((text, *_reason(score.result, reason)) for reason, text in REASONS.items())
    return [
        Table(("", "without excluded raters", "with them"), rows, title),
        Table(("reason", f"for {score.a}", f"for {score.b}"), reasons, "Shares of the votes with a reason"),
        Table(
            ("why", "raters"),
            tuple(_excluded(score)),
            f"{_count_excluded(score):,} of {len(score.raters):,} raters excluded",
        ),
    ]


def _reason(result: Result | None, reason: str) -> tuple[str, str]:
    if result is None:
        return "-", "-"
    found = result.reasons[reason]
    return percent_interval(found.a), percent_interval(found.b)


def _count_excluded(score: Score) -> int:
    return sum(bool(rater.excluded) for rater in score.raters)


def _excluded(score: Score) -> list[tuple[str, str]]:
    """Each reason to exclude a rater, and how many raters it excludes."""
    counts = Counter(why for rater in score.raters for why in rater.excluded)
    return [(why, f"{count:,}") for why, count in counts.most_common()]


def _values(found: Found[Score]) -> dict[str, Any]:
    """A score without the single raters, whose names may be those of a platform."""
    values = asdict(found.result)
    raters = values.pop("raters")
    return {"file": found.place, **values, "raters": len(raters), "excluded": _count_excluded(found.result)}
