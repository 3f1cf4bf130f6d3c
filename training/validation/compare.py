"""Compares runs: differing settings, losses, speed, and the first step at which losses differ."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from base.errors import InputError
from base.storage.folder import Folder
from models.find import run_name
from models.run_folder import read_description
from training.run.tracking import METRICS, read_metrics
from training.validation.figure import GREY, SMALL, Look, entitle, label, name_runs, new_figure, png, tidy

# Losses of single steps are noisy, since each has other clips and timesteps; longer windows would hide trends.
_LONGEST_WINDOW, _WINDOWS_A_RUN = 100, 10
# Fields of a metrics line other than the loss terms.
_OTHERS = frozenset(
    {"step", "loss", "grad_norm", "lr", "epoch", "seconds", "data_wait", "clips_per_s", "memory_gb", "mfu"}
)


@dataclass(frozen=True)
class RunSummary:
    """The results of a run. ``smoothed`` holds means over the last ``window`` steps."""

    name: str
    uri: str
    data: dict[str, int]
    """Its datasets with their numbers of clips."""
    steps: int
    last: dict[str, float]
    smoothed: dict[str, float]
    clips_per_s: float
    """Median over steps."""
    first_difference: int | None
    """The first step whose loss differs from the first run's in any bit; None if all are equal."""
    shared_steps: int
    """Number of steps that this run and the first one share."""


@dataclass(frozen=True)
class Curve:
    """The terms of a run's loss by step, by their names."""

    step: Float[np.ndarray, " s"]
    terms: dict[str, Float[np.ndarray, " s"]]


@dataclass(frozen=True)
class Comparison:
    """A comparison of runs. ``settings`` holds the fields that differ, each with every run's value."""

    settings: dict[str, tuple[Any, ...]]
    runs: tuple[RunSummary, ...]
    window: int
    curves: tuple[Curve, ...]

    def to_json(self) -> dict[str, Any]:
        """All but the curves, as plain JSON."""
        return {"settings": self.settings, "window": self.window, "runs": [asdict(run) for run in self.runs]}


def compare(uris: Sequence[str], window: int | None = None) -> Comparison:
    """Compare runs with the first one; ``window`` is the number of steps to smooth over, by default chosen by length.

    InputError if a folder is not a run, or its run has not taken a step.
    """
    folders = [Folder(uri.rstrip("/")) for uri in uris]
    configs = [read_description(folder) for folder in folders]
    metrics = [read_metrics(folder) for folder in folders]
    for folder, lines in zip(folders, metrics, strict=True):
        if not lines:
            raise InputError(f"{folder.uri}: {METRICS} has no steps yet. Wait for the first one, or give another run.")
    steps = min(map(len, metrics))
    window = window or usual_window(steps)
    names = [run_name(folder.uri) for folder in folders]
    names = [name if names.count(name) == 1 else folder.uri for name, folder in zip(names, folders, strict=True)]
    runs = tuple(
        _summary((name, folder.uri), config, (lines, metrics[0]), window)
        for name, folder, config, lines in zip(names, folders, configs, metrics, strict=True)
    )
    curves = tuple(
        Curve(_column(lines, "step"), {term: _column(lines, term) for term in loss_terms(lines)}) for lines in metrics
    )
    return Comparison(differing([config["config"] for config in configs]), runs, window, curves)


def usual_window(steps: int) -> int:
    """How many steps losses are smoothed over: a tenth of the run, 100 at most."""
    return max(1, min(_LONGEST_WINDOW, steps // _WINDOWS_A_RUN))


def _summary(
    named: tuple[str, str],
    config: Mapping[str, Any],
    traces: tuple[list[dict[str, Any]], list[dict[str, Any]]],
    window: int,
) -> RunSummary:
    lines, of_first = traces
    shared, step = first_difference(of_first, lines)
    terms = ("loss", *loss_terms(lines))
    return RunSummary(
        *named,
        data={str(data["uri"]): int(data["clips"]) for data in config["data"].values()},
        steps=int(lines[-1]["step"]) + 1,
        last={term: lines[-1][term] for term in terms},
        smoothed={term: float(_column(lines, term)[-window:].mean()) for term in terms},
        clips_per_s=float(np.median(_column(lines, "clips_per_s"))),
        first_difference=step,
        shared_steps=shared,
    )


def loss_terms(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of a run's loss terms."""
    return [name for name in lines[-1] if name not in _OTHERS]


def _column(lines: Sequence[Mapping[str, Any]], name: str) -> Float[np.ndarray, " s"]:
    return np.array([line[name] for line in lines], np.float64)


def first_difference(first: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> tuple[int, int | None]:
    """How many steps two runs share, and the first of them at which their losses differ."""
    losses = {line["step"]: line["loss"] for line in first}
    shared = [line for line in other if line["step"] in losses]
    return len(shared), next((line["step"] for line in shared if line["loss"] != losses[line["step"]]), None)


def differing(configs: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """The fields that are not the same in all of the configurations, by their dotted names."""
    flat = [flatten(config) for config in configs]
    names = sorted({name for fields in flat for name in fields})
    rows = {name: tuple(fields.get(name) for fields in flat) for name in names}
    return {name: values for name, values in rows.items() if any(value != values[0] for value in values)}


def flatten(config: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """The fields of a stored configuration by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        where = f"{path}.{name}".lstrip(".")
        found |= flatten(value, where) if isinstance(value, dict) else {where: value}
    return found


def smooth(values: Float[np.ndarray, " s"], window: int) -> Float[np.ndarray, " s"]:
    """Moving mean over the last ``window`` values, fewer at the start."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    means: np.ndarray = (sums[ends] - sums[starts]) / (ends - starts)
    return means


def curves_figure(found: Comparison) -> bytes:
    """The terms of every run's loss by step, smoothed over faint single steps, one panel per term. PNG."""
    terms = list(dict.fromkeys(term for curve in found.curves for term in curve.terms))
    figure = new_figure(1.6 + 2.1 * len(terms))
    panels = figure.subplots(len(terms), 1, sharex=True, squeeze=False)[:, 0]
    window = f"mean over {found.window} steps" if found.window > 1 else "single steps"
    entitle(panels[0], "Training loss", f"squared error of the prediction; {window}")
    for axes, term in zip(panels, terms, strict=True):
        if term == "motion":
            note = "weighted by motion as in training, without lambda"
            axes.set_title(note, fontsize=SMALL, color=GREY, loc="left", x=0)
        tops = []
        for number, (run, curve) in enumerate(zip(found.runs, found.curves, strict=True)):
            if term not in curve.terms:
                continue
            look, values = Look.of(number), curve.terms[term]
            smoothed = smooth(values, found.window)
            if found.window > 1:
                axes.plot(curve.step, values, color=look.colour, alpha=0.15, linewidth=0.7)
            axes.plot(curve.step, smoothed, color=look.colour, linewidth=1.6, label=label(run.name))
            tops.append(float(smoothed.max()))
        axes.set_ylim(0, 1.15 * max(tops))
        tidy(axes, "step" if term == terms[-1] else "", f"{term} term")
    name_runs(panels[0])
    return png(figure)
