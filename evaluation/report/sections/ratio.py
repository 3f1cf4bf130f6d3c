"""Figure 6 of the paper: the error where something moves over the error overall, from results of ``motif validate``."""

import shlex
from collections.abc import Sequence
from dataclasses import replace

from evaluation.report.content import Chart, Line, Missing, Section, Table
from evaluation.report.results import Found, lacking, name_of, stale
from evaluation.report.run import Run
from training.validation.ratio import Estimate, RunRatio
from training.validation.validate import Validation

_TEXT = (
    "Mean squared error where something moves, divided by the mean overall, by timestep, on clips that no run was "
    "trained on (unless the command has --allow-training-data). The lower, the less a model neglects what moves. Bands "
    "and brackets are 95 % intervals of a bootstrap over clips."
)
_TITLE = "Figure 6: errors in moving regions"


def ratio_section(runs: Sequence[Run], results: Sequence[Found[Validation]]) -> Section:
    """The section."""
    named = [_named(found, runs) for found in results]
    groups = _comparable(named)
    which = lacking(runs, (run.name for one in named for run in one.runs))
    missing = () if which is None else (Missing(f"Figure 6{which}: no result of `motif validate`", (_form(runs),)),)
    return Section(
        key="validation",
        title=_TITLE,
        text=_TEXT,
        notes=(*(note for found in results for note in _stale(found, runs)), *_unpaired(runs, named, groups)),
        charts=tuple(chart for group in groups for chart in _charts(runs, group)),
        tables=tuple(_table(one) for one in named),
        missing=missing,
        commands=tuple(found.made_by(_form(runs)) for found in results),
        values=[{"file": found.place, **one.to_json()} for found, one in zip(results, named, strict=True)] or None,
    )


def mean_ratios(runs: Sequence[Run], results: Sequence[Found[Validation]]) -> dict[str, Estimate]:
    """The ratio averaged over timesteps, by the names of runs; of a run that was measured twice, the first result's."""
    found = [run for result in results for run in _named(result, runs).runs]
    return {run.name: run.ratio for run in reversed(found)}


def _named(found: Found[Validation], runs: Sequence[Run]) -> Validation:
    """A result with the report's names of runs."""
    renamed = tuple(replace(run, name=name_of(run.name, found, runs)) for run in found.result.runs)
    return replace(found.result, runs=renamed)


def _comparable(results: Sequence[Validation]) -> list[list[Validation]]:
    """Results of the same clips, noise and masks together."""
    groups: dict[object, list[Validation]] = {}
    for one in results:
        how = replace(one.options, batch=1, device="auto", resamples=1)
        key = (how, one.data.rstrip("/"), one.prediction, one.clips, one.clips_without_mask)
        groups.setdefault(key, []).append(one)
    return list(groups.values())


def _charts(runs: Sequence[Run], group: Sequence[Validation]) -> list[Chart]:
    """The ratios, and, if they were measured together, the differences to the first."""
    lines = [run for one in group for run in one.runs]
    first, names = group[0], [run.name for run in runs]
    looks = {run.name: _look(run.name, number, names) for number, run in enumerate(lines)}
    left_out = f", {first.clips_without_mask:,} without motion left out" if first.clips_without_mask else ""
    about = f"{first.clips:,} clips of {first.data}{left_out}; mask: heatmap > {first.options.threshold:g}"
    ratios = tuple(_line(run, looks[run.name], [one.ratio for one in run.by_timestep]) for run in lines)
    x = "timestep (0: clean)"
    found = [Chart(f"loss in mask / loss overall, {first.prediction}-prediction", x, ratios, about, 1.0, marks=True)]
    if len(group) == 1 and len(lines) > 1:
        rest = (_line(run, looks[run.name], [one.difference for one in run.by_timestep]) for run in lines[1:])
        about = "the same clips and noise, so a clip's difficulty cancels"
        found.append(Chart(f"ratio minus that of {lines[0].name}", x, tuple(rest), about, 0.0, marks=True))
    return found


def _look(name: str, number: int, names: Sequence[str]) -> int:
    """A run has the same look in all charts; models that are not runs of the report have those after them."""
    return names.index(name) if name in names else len(names) + number


def _line(run: RunRatio, look: int, values: Sequence[Estimate]) -> Line:
    steps = [float(one.timestep) for one in run.by_timestep]
    middle, low, high = ([getattr(value, end) for value in values] for end in ("value", "low", "high"))
    return Line(run.name, look, steps, middle, low, high)


def _table(found: Validation) -> Table:
    columns = ["timestep"]
    for number, run in enumerate(found.runs):
        columns += [f"{run.name}, step {found.steps[number]:,}"] + ([f"minus {found.runs[0].name}"] if number else [])
    rows = [("mean", *_cells([(run.ratio, run.difference) for run in found.runs]))]
    for losses in zip(*(run.by_timestep for run in found.runs), strict=True):
        rows.append((str(losses[0].timestep), *_cells([(one.ratio, one.difference) for one in losses])))
    return Table(tuple(columns), tuple(rows), f"On {found.data}")


def _cells(values: Sequence[tuple[Estimate, Estimate]]) -> list[str]:
    cells: list[str] = []
    for number, (ratio, difference) in enumerate(values):
        cells += [interval(ratio)] + ([interval(difference, "+")] if number else [])
    return cells


def interval(found: Estimate, sign: str = "") -> str:
    """Such as ``1.62 [1.51, 1.74]``."""
    value, low, high = (f"{number:{sign}.2f}" for number in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


def _stale(found: Found[Validation], runs: Sequence[Run]) -> list[str]:
    names = [run.name for run in found.result.runs]
    return stale(found, zip(names, found.result.steps, strict=True), runs)


def _unpaired(runs: Sequence[Run], named: Sequence[Validation], groups: Sequence[Sequence[Validation]]) -> list[str]:
    """That runs were measured apart, so that there is no interval of their difference."""
    names = {run.name for run in runs}
    together = any(len(names & {run.name for run in one.runs}) > 1 for one in named)
    if len(named) < 2 or together:
        return []
    apart = "" if len(groups) == 1 else ", and not on the same clips in the same way, so they are not comparable"
    return [f"The runs were measured one by one{apart}. For intervals of their difference: {_form(runs)}"]


def _form(runs: Sequence[Run]) -> str:
    """The command that measures all runs together."""
    out = runs[0].folder.file("validation") if len(runs) == 1 else "VALIDATION"
    more = "" if len(runs) == 1 else "; then give --validation VALIDATION here"
    places = shlex.join(run.folder.uri for run in runs)
    return f"motif validate {places} --data HELD_OUT_DATASET --out {shlex.quote(out)}{more}"
