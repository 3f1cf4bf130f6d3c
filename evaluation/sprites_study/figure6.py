"""Figure 6 of the paper on a study's held-out clips: how large errors are where something moves, for each arm."""

from evaluation.sprites_study.ratio import options, pooled, read_errors
from evaluation.sprites_study.results import Results
from evaluation.sprites_study.run import ERRORS
from evaluation.sprites_study.study import RunPlan, Study
from training.validation.ratio import compare_ratios
from training.validation.validate import Validation


def measured_figure(study: Study, results: Results) -> Validation | None:
    """The ratio of each arm, its errors pooled over its seeds; None if too little moves in the held-out clips.

    Differences are to the first arm, which is ``none`` where it was trained.
    """
    measured = [
        (name, pooled([read_errors(study.folder(RunPlan(name, run.seed)) / ERRORS) for run in arm.runs]))
        for name, arm in results.arms.items()
    ]
    first, how = measured[0][1], options(study)
    moving = int(first.moving.sum())
    if not moving:
        return None
    return Validation(
        runs=compare_ratios(measured, how.resamples, how.seed),
        steps=tuple(arm.runs[0].step for arm in results.arms.values()),
        prediction=study.size.train.schedule.predicts,
        clips=moving,
        clips_without_mask=len(first.clip_ids) - moving,
        data=str(study.held_out),
        options=how,
        seconds=0.0,
    )
