"""Validation of runs, from folders to estimates with intervals."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from base.device import find_device
from training.data.source import Source
from training.validation.measure import HeldOut, measure
from training.validation.options import Options
from training.validation.ratio import ClipErrors, RunRatio, compare_ratios
from training.validation.runs import check_fit, check_held_out, find_comparable


@dataclass(frozen=True)
class ValidationJob:
    """Runs to validate (the first is the reference), and the held-out dataset or view."""

    runs: tuple[str, ...]
    data: str
    options: Options = Options()
    allow_training_data: bool = False


@dataclass(frozen=True)
class Validation:
    """The result. ``clips`` counts clips with a motion mask, ``clips_without_mask`` those left out."""

    runs: tuple[RunRatio, ...]
    steps: tuple[int, ...]
    """The training step of each run's model."""
    prediction: str
    clips: int
    clips_without_mask: int
    data: str
    options: Options
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


def validate(job: ValidationJob, report: Callable[[str], None]) -> Validation:
    """Validate runs; everything is checked before the first network runs. ``report`` takes lines for the user."""
    started = time.monotonic()
    candidates = find_comparable(job.runs)
    device = find_device(job.options.device)
    source = Source(
        job.data,
        job.options.artifacts,
        image=any(c.takes_image_tokens() for c in candidates),
        motion=any(c.takes_motion_level() for c in candidates),
    )
    clips = HeldOut.choose(source, job.options.limit, job.options.seed)
    check_fit(candidates, clips, job.options.timesteps)
    if not job.allow_training_data:
        check_held_out(candidates, clips, report)
    report(f"{len(clips.places):,} clips x {len(job.options.timesteps)} timesteps on {device}")
    measured: list[tuple[str, ClipErrors]] = []
    for candidate in candidates:
        report(f"{candidate.name}, step {candidate.facts.step}")
        network = candidate.load().to(device)
        facts = candidate.facts
        errors = measure(network, facts.schedule, clips, job.options, report, facts.motion_bounds)
        measured.append((candidate.name, errors))
        del network  # before the next one is loaded
    moving = int(measured[0][1].moving.sum())
    return Validation(
        runs=compare_ratios(measured, job.options.resamples, job.options.seed),
        steps=tuple(candidate.facts.step for candidate in candidates),
        prediction=candidates[0].facts.schedule.predicts,
        clips=moving,
        clips_without_mask=len(clips.places) - moving,
        data=job.data,
        options=job.options,
        seconds=round(time.monotonic() - started, 1),
    )
