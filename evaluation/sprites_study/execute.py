"""Executes a study: videos, features, its runs in their order, and the report, anew after each run."""

from collections.abc import Callable, Sequence
from pathlib import Path

from evaluation.sprites_study.data import write_features, write_videos
from evaluation.sprites_study.report import write_report
from evaluation.sprites_study.run import read_result, run_one
from evaluation.sprites_study.study import Study


def execute(study: Study, workers: int, commands: Sequence[str], report: Callable[[str], None]) -> Path:
    """Do all that is missing of a study, and return the page of its report.

    ``workers`` runs are computed at once on Ray; 0: one after the other in this process.
    """
    study.claim()
    write_videos(study, report)
    write_features(study, report)
    missing = [plan for plan in study.runs if read_result(study, plan) is None]
    if workers and missing:
        from evaluation.sprites_study.on_ray import run_on_ray  # only here: the rest works without Ray

        run_on_ray(study, missing, workers, report, lambda: _update(study, commands, report))
    else:
        for number, plan in enumerate(missing, 1):
            report(f"{plan.name}: run {number} of {len(missing)}")
            run_one(study, plan, report)
            _update(study, commands, report)
    page = write_report(study, commands, report)
    assert page is not None, "all runs are finished"
    return page


def _update(study: Study, commands: Sequence[str], report: Callable[[str], None]) -> None:
    page = write_report(study, commands, report)
    report(f"{page} is up to date")
