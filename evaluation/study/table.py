"""A study's score as tables for people."""

from collections.abc import Iterator

from rich.table import Table

from evaluation.statistics.estimate import Estimate
from evaluation.study.score import Result, Score
from evaluation.study.votes import REASONS


def tables(score: Score) -> Iterator[Table]:
    """The preference, the reasons and the raters."""
    yield _preference(score)
    yield _reasons(score)
    yield _raters(score)


def _preference(score: Score) -> Table:
    title = f"{score.a} against {score.b}: {score.pairs:,} pairs of {score.scenes:,} scenes (95 % interval)"
    table = Table(title=title)
    table.add_column("")
    for name in ("without excluded raters", "with"):
        table.add_column(name, justify="right")
    columns = [figures(result, score) for result in (score.result, score.with_excluded)]
    for name in columns[1] or columns[0]:
        table.add_row(name, *(column.get(name, "-") for column in columns))
    return table


def figures(result: Result | None, score: Score) -> dict[str, str]:
    """What some of the votes say, as text by its name; empty if there are no votes."""
    if result is None:
        return {}
    rows = {
        "raters": f"{result.raters:,}",
        "votes": f"{result.votes:,} of {score.slots:,}",
        f"votes for {score.a}": percent_interval(result.preference),
    }
    if majority := result.majority:
        rows |= {
            f"pairs won by {score.a}": percent_interval(majority.share),
            "  interval over scenes": percent_interval(majority.by_scene),
            "  exact p-value": f"{majority.p_value:.2g}",
            "  smallest significant": _percent(majority.smallest_significant),
            "  pairs tied": f"{majority.tied:,}",
        }
    if agreement := result.agreement:
        shares = (agreement.complete, agreement.partial, agreement.split)
        rows |= {
            "Krippendorff's alpha": _number(agreement.alpha),
            "Fleiss' kappa": _number(agreement.fleiss),
            "complete / partial / split": " / ".join(map(_percent, shares)),
        }
    left = result.position
    return rows | {"votes for the left side": f"{percent_interval(left.left)}, p = {left.p_value:.2g}"}


def _reasons(score: Score) -> Table:
    table = Table(title="share of the votes with this reason, without excluded raters")
    table.add_column("")
    for name in (score.a, score.b):
        table.add_column(f"for {name}", justify="right")
    for reason, text in REASONS.items():
        found = score.result.reasons[reason] if score.result else None
        table.add_row(text, percent_interval(found.a) if found else "-", percent_interval(found.b) if found else "-")
    return table


def _raters(score: Score) -> Table:
    excluded = sum(bool(rater.excluded) for rater in score.raters)
    table = Table(title=f"{len(score.raters):,} raters, {excluded:,} excluded")
    table.add_column("rater")
    for name in ("votes", "gold", "fast", "left", "kappa with others", "excluded"):
        table.add_column(name, justify="right")
    for rater in score.raters:
        shares = (f"{rater.gold_right} of {rater.gold}", f"{rater.fast:.0%}", f"{rater.left:.0%}")
        table.add_row(rater.name, f"{rater.votes:,}", *shares, _number(rater.kappa), "yes" if rater.excluded else "")
    return table


def percent_interval(estimate: Estimate) -> str:
    """Such as ``63.1 % [57.7, 68.2]``."""
    return f"{100 * estimate.value:.1f} % [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
