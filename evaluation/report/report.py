"""Makes a report: reads runs and results, and puts the sections together."""

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.report.content import Report, Section, Table
from evaluation.report.results import METRICS, SPRITES, STUDY, VALIDATION, read_results
from evaluation.report.run import Run, read_runs
from evaluation.report.sections.curves import curves_section, summary, unlike_losses
from evaluation.report.sections.metrics import metrics_section
from evaluation.report.sections.ratio import interval, mean_ratios, ratio_section
from evaluation.report.sections.samples import folders_section, scored_section, training_section
from evaluation.report.sections.settings import count, describe_loss, describe_recipe, settings_section
from evaluation.report.sections.sprites import right_videos, scores_section
from evaluation.report.sections.study import sentences, study_section
from evaluation.sprites.table import percent
from training.validation.compare import usual_window


@dataclass(frozen=True)
class ReportJob:
    """Folders of runs, and places of results outside of them; ``num`` sample videos of each are shown."""

    runs: tuple[str, ...]
    validation: tuple[str, ...] = ()
    sprites: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    study: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    num: int = 4
    command: str = ""


def make_report(job: ReportJob) -> Report:
    """The report. InputError if a folder is no run, or a result is not there, damaged or of another version."""
    runs = read_runs(job.runs)
    validation = read_results(VALIDATION, job.validation, runs)
    sprites = read_results(SPRITES, job.sprites, runs)
    metrics = read_results(METRICS, job.metrics, runs)
    study = read_results(STUDY, job.study, runs)
    sections = [
        settings_section(runs),
        curves_section(runs),
        ratio_section(runs, validation),
        scores_section(runs, sprites),
        metrics_section(metrics),
        study_section(study),
        folders_section(runs, job.samples, job.num),
        scored_section(runs, sprites, job.num),
        training_section(runs, job.num),
    ]
    rows = _short(runs)
    for title, found in (
        ("loss in moving regions / overall", {n: interval(one) for n, one in mean_ratios(runs, validation).items()}),
        ("right videos of sprites, per cent", {n: percent(one) for n, one in right_videos(runs, sprites).items()}),
    ):
        rows += [(title, *(found.get(run.name, "-") for run in runs))] if found else []
    names = tuple(run.name for run in runs)
    return Report(
        title=_title(names),
        runs=names,
        short=Table(("", *names), tuple(rows)),
        sentences=(*unlike_losses(runs), *sentences(study)),
        sections=tuple(section for section in sections if section is not None) + _own(job),
    )


def _title(names: Sequence[str]) -> str:
    *rest, last = names
    return f"Training runs {', '.join(rest)} and {last}" if rest else f"Training run {last}"


def _short(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """The rows of the summary that every run has."""
    window = usual_window(min((len(run.steps) for run in runs if run.steps), default=1))
    losses = [_last_loss(run, window) for run in runs]
    return [
        ("steps", *(f"{run.done:,} of {run.config['steps']:,}" for run in runs)),
        ("parameters", *(count(run.parameters) for run in runs)),
        ("recipe", *(describe_recipe(run.config) for run in runs)),
        ("loss weighting", *(describe_loss(run.config) for run in runs)),
        ("clips", *(f"{sum(one.clips for one in run.data):,}" for run in runs)),
        ("seed", *(str(run.config.get("seed", "-")) for run in runs)),
        (f"loss, mean of the last {window} steps" if window > 1 else "loss of the last step", *losses),
    ]


def _last_loss(run: Run, window: int) -> str:
    found = summary(run, window).get("loss") if run.steps else None
    return "-" if found is None else f"{found['last']:.4g}"


def _own(job: ReportJob) -> tuple[Section, ...]:
    """How the page itself was made."""
    return (Section("page", "This page", commands=(job.command,)),) if job.command else ()
