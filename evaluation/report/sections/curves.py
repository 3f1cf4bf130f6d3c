"""Training curves: the loss and its terms, gradient norm, learning rate and time of each step, over each other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from evaluation.report.content import Chart, Line, Missing, Section, Table
from evaluation.report.run import Run
from evaluation.report.sections.settings import train_again
from training.validation.compare import first_difference, loss_terms, smooth, usual_window

_MOST_POINTS = 500
"""Of a longer line, so many are drawn; single values are then a band, from the least to the greatest nearby."""
# Values of a step beside the loss and its terms: name, title, whether it is smoothed.
_OTHERS = (
    ("grad_norm", "gradient norm, before clipping", True),
    ("lr", "learning rate", False),
    ("seconds", "seconds a step", True),
    ("data_wait", "of these, waiting for data", True),
)


@dataclass(frozen=True)
class Trace:
    """A value by step, counted from 1; steps at which it is not a finite number are left out."""

    step: Float[np.ndarray, " s"]
    value: Float[np.ndarray, " s"]


def curves_section(runs: Sequence[Run]) -> Section:
    """The section."""
    begun = [run for run in runs if run.steps]
    missing = tuple(
        Missing(f"curves of {run.name}: it has no step yet", (train_again(run),)) for run in runs if not run.steps
    )
    if not begun:
        return Section("curves", "Training curves", missing=missing)
    window = usual_window(min(len(run.steps) for run in begun))
    names = fields(begun)
    over = f" Lines are means over the last {window} steps, faint behind them the single steps." if window > 1 else ""
    return Section(
        key="curves",
        title="Training curves",
        text="From metrics.jsonl of each run; steps count from 1, as in checkpoints. Each step has its own clips, "
        f"noise and timesteps, so its values scatter.{over}",
        notes=tuple(unlike_losses(runs)),
        charts=tuple(_chart(name, title, runs, window if is_smoothed else 1) for name, title, is_smoothed in names),
        tables=(_table(begun, {name: title for name, title, _ in names}, window),),
        missing=missing,
        values={"window": window, "runs": {run.name: summary(run, window) for run in begun}},
    )


def unlike_losses(runs: Sequence[Run]) -> list[str]:
    """A sentence if the runs' losses are not the same function of the errors."""
    if all(run.config["loss"] == runs[0].config["loss"] for run in runs):
        return []
    plain = "; the term plain, the mean squared error, can be" if all(_has_plain(run) for run in runs) else ""
    return [f"The runs weight their errors differently, so their losses cannot be compared{plain}."]


def _has_plain(run: Run) -> bool:
    return not run.steps or "plain" in run.steps[-1]


def fields(runs: Sequence[Run]) -> list[tuple[str, str, bool]]:
    """The values that any of the runs records: name, title, whether it is smoothed."""
    terms = dict.fromkeys(term for run in runs for term in loss_terms(run.steps))
    recorded = {name for run in runs for name in run.steps[-1]}
    listed = [("loss", "loss", True), *((term, f"loss term: {term}", True) for term in terms)]
    return listed + [one for one in _OTHERS if one[0] in recorded]


def trace(run: Run, name: str) -> Trace:
    """A value of a run by step."""
    found = [(line["step"] + 1, line[name]) for line in run.steps if math.isfinite(line.get(name, math.nan))]
    array = np.array(found, np.float64).reshape(-1, 2)
    return Trace(array[:, 0], array[:, 1])


def summary(run: Run, window: int) -> dict[str, dict[str, float]]:
    """Of each value of a run: the mean over the first and the last ``window`` steps, the least and the median."""
    found = {}
    for name in [name for name, _, _ in fields([run])]:
        values = trace(run, name).value
        if len(values):
            first, last = float(values[:window].mean()), float(values[-window:].mean())
            found[name] = {
                "first": first,
                "last": last,
                "least": float(values.min()),
                "median": float(np.median(values)),
            }
    return found


def _table(runs: Sequence[Run], titles: Mapping[str, str], window: int) -> Table:
    found = [summary(run, window) for run in runs]
    rows = [(title, *(_cell(one.get(name), name) for one in found)) for name, title in titles.items()]
    rows.append(("time of all steps", *(_duration(float(trace(run, "seconds").value.sum())) for run in runs)))
    if len(runs) > 1:
        rows.append(("losses of single steps", "", *(_trace(runs[0], run) for run in runs[1:])))
    over = f"means over {window} steps" if window > 1 else "single steps"
    return Table(("", *(run.name for run in runs)), tuple(rows), f"At first and at last ({over}); of times, the median")


def _trace(first: Run, other: Run) -> str:
    """Where the losses of two runs part: to the last bit, they are the same before."""
    shared, step = first_difference(first.steps, other.steps)
    if step is None:
        return f"identical for {shared:,} step{'' if shared == 1 else 's'}"
    return f"differ from step {step + 1:,} on"


def _duration(seconds: float) -> str:
    """``12 s``, ``5.2 min`` or ``3.4 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"


def _cell(found: dict[str, float] | None, name: str) -> str:
    if found is None:
        return "-"
    if name in ("seconds", "data_wait"):
        return f"{found['median']:.3g}"
    return f"{found['first']:.4g} to {found['last']:.4g}"


def _chart(name: str, title: str, runs: Sequence[Run], window: int) -> Chart:
    lines: list[Line] = []
    for look, run in enumerate(runs):
        found = trace(run, name)
        if len(found.step) == 0:
            continue
        if window > 1:
            lines.append(_single(run.name, look, found))
        lines.append(_thinned(run.name, look, Trace(found.step, smooth(found.value, window))))
    return Chart(title, "step", tuple(lines))


def _thinned(name: str, look: int, found: Trace) -> Line:
    """The line through some of the points, the first and last among them."""
    at = np.unique(np.linspace(0, len(found.step) - 1, min(_MOST_POINTS, len(found.step))).round().astype(int))
    return Line(name, look, found.step[at].tolist(), found.value[at].tolist())


def _single(name: str, look: int, found: Trace) -> Line:
    """Single values; of many, the band that they lie in."""
    if len(found.step) <= _MOST_POINTS:
        return Line(name, look, found.step.tolist(), found.value.tolist(), faint=True)
    starts = np.linspace(0, len(found.step), _MOST_POINTS + 1).round().astype(int)[:-1]
    low, high = (
        np.asarray(reduce(found.value, starts)).tolist() for reduce in (np.minimum.reduceat, np.maximum.reduceat)
    )
    return Line(name, look, found.step[starts].tolist(), [], low, high, faint=True)
