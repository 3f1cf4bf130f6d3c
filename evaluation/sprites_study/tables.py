"""The tables of a study's report, as text cells, for any format."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.sprites.evaluate import Row
from evaluation.sprites.score import STILL
from evaluation.sprites.summary import Summary
from evaluation.sprites.table import MEASURES, percent
from evaluation.sprites_study.arms import REFERENCE
from evaluation.sprites_study.results import BASE, ArmResult, Results
from evaluation.statistics.estimate import Estimate
from training.validation.ratio import Estimate as ClipEstimate
from training.validation.ratio import RunRatio


@dataclass(frozen=True)
class Section:
    """A table with its title and a few sentences on what it shows."""

    title: str
    text: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def sections(results: Results, controls: Sequence[Row], ratios: Sequence[RunRatio] = ()) -> list[Section]:
    """All tables for which there are results; ``ratios`` are those of figure 6."""
    found = [_scores(results, controls)]
    if results.differences:
        found.append(_differences(results))
    if results.comparisons:
        found.append(_comparisons(results))
    if ratios:
        found.append(_ratios(ratios))
    found.append(_kinds(results, controls))
    found.append(_cost(results))
    return found


def _scores(results: Results, controls: Sequence[Row]) -> Section:
    text = (
        "Per cent, with 95 % intervals over images; all seeds of an arm together. Right: the right object moved, in "
        "the right one of eight directions. Displacement error: distance from where it should be, in per cent of the "
        "short side. Leakage: something else moved or changed. Kept: appearance of what moves. Prompt swap: right "
        "for the own prompt, minus right for another prompt of the same image. Static: nothing moved by more than "
        f"{STILL:.0%} of the short side."
    )
    rows = [(row.name, *_cells(row.summary), "") for row in controls]
    for name, arm in results.arms.items():
        by_seed = ", ".join(f"{100 * value:.0f}" for _, value in sorted(arm.right_by_seed.items()))
        rows.append((f"{name}: {arm.arm.about}", *_cells(arm.summary), by_seed))
    return Section("Exact scores", text, ("arm", *MEASURES, "right, by seed"), tuple(rows))


def _cells(summary: Summary) -> tuple[str, ...]:
    return tuple(percent(value(summary)) for value in MEASURES.values())


def _differences(results: Results) -> Section:
    text = (
        "Percentage points of right videos more than without motion loss, on the same images, noise and seeds. Over "
        "images: for these trained models. Over seeds: for models trained anew, by Student's t; with few seeds it is "
        "wide."
    )
    rows = tuple((name, percent(one.over_images), percent(one.over_seeds)) for name, one in results.differences.items())
    return Section("Right videos, minus those without motion loss", text, ("arm", "over images", "over seeds"), rows)


def _comparisons(results: Results) -> Section:
    text = (
        "How often MotiF's video is better, in the form of the paper's tables, whose shares are votes of raters. Of "
        "two videos of a pair the better one is right, or, if both or neither are, has the smaller displacement error. "
        "Agrees: yes or no where the interval leaves out 50 %."
    )
    rows = []
    for one in results.comparisons:
        published = "-" if one.arm.published is None else f"{one.arm.published:.1f} / {100 - one.arm.published:.1f}"
        share = f"{100 * one.wins.value:.1f} / {100 - 100 * one.wins.value:.1f}"
        interval = f"({100 * one.wins.low:.1f}, {100 * one.wins.high:.1f})"
        agrees = "-" if one.arm.published is None else _agrees(one.wins, 0.5, one.arm.published > 50)
        rows.append(
            (
                *(f"{REFERENCE} / {one.arm.name}", one.arm.paper or "-", published),
                *(share, interval, f"{one.pairs:,}", agrees),
            )
        )
    columns = ("", "paper", "raters there", "better here", "95 % interval", "pairs", "agrees")
    return Section("MotiF against each arm", text, columns, tuple(rows))


def _ratios(ratios: Sequence[RunRatio]) -> Section:
    base = ratios[0].name
    text = (
        f"Mean over timesteps of the figure below, and its difference to {base} on the same clips and noise. In the "
        "paper, MotiF's ratio is the smaller one. Agrees: yes or no where the interval of the difference leaves out 0."
    )
    rows = [(base, _interval(ratios[0].ratio), "-", "-", "-")]
    for one in ratios[1:]:
        compared = one.name == REFERENCE and base == BASE
        paper = ("smaller", _agrees(one.difference, 0, above=False)) if compared else ("-", "-")
        rows.append((one.name, _interval(one.ratio), _interval(one.difference, "+"), *paper))
    columns = ("arm", "ratio", f"minus {base}", "paper", "agrees")
    return Section("Figure 6: error where something moves, relative to all", text, columns, tuple(rows))


def _interval(value: ClipEstimate, sign: str = "") -> str:
    return f"{value.value:{sign}.3f} ({value.low:{sign}.3f}, {value.high:{sign}.3f})"


def _agrees(value: Estimate | ClipEstimate, even: float, above: bool) -> str:
    """Whether a value lies on the paper's side of ``even``; "not decided" where its interval has both sides."""
    if value.low <= even <= value.high:
        return "not decided"
    return "yes" if (value.value > even) == above else "no"


def _kinds(results: Results, controls: Sequence[Row]) -> Section:
    named: Mapping[str, Summary] = {row.name: row.summary for row in controls} | {
        name: arm.summary for name, arm in results.arms.items()
    }
    kinds = sorted({kind for summary in named.values() for kind in summary.by_kind})
    rows = tuple((name, *(percent(summary.by_kind.get(kind)) for kind in kinds)) for name, summary in named.items())
    return Section("Right videos by kind of motion", "Per cent.", ("arm", *kinds), rows)


def _cost(results: Results) -> Section:
    text = (
        "Means over an arm's runs. All have the same steps, clips and noise. Mean weight: how much an arm's weighting "
        "scales the loss of errors that are noise; a gain must not be a larger learning rate. Loss: the unweighted "
        "mean of the last steps."
    )
    columns = ("arm", "runs", "steps", "parameters", "mean weight", "loss", "training", "evaluation", "device")
    return Section("Cost", text, columns, tuple(_cost_row(name, arm) for name, arm in results.arms.items()))


def _cost_row(name: str, arm: ArmResult) -> tuple[str, ...]:
    runs = arm.runs

    def mean(field: str) -> float:
        return sum(float(getattr(run, field)) for run in runs) / len(runs)

    return (
        name,
        str(len(runs)),
        f"{runs[0].step:,}",
        f"{runs[0].parameters / 1e6:.2f} M",
        f"{runs[0].mean_weight:.2f}",
        f"{mean('loss'):.4f}",
        f"{mean('train_seconds') / 60:.1f} min",
        f"{mean('evaluate_seconds') / 60:.1f} min",
        runs[0].device,
    )
