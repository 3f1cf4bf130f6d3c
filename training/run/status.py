"""How far a run is: its step, speed and remaining time, and its newest checkpoint. Needs no torch."""

from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from base.storage.folder import Folder
from models.run_folder import CHECKPOINTS, PROGRESS, checkpoint_names, read_description
from training.run.tracking import METRICS, last_metrics

_STEPS = 20  # of which the median is taken, as for the remaining time on the terminal


@dataclass(frozen=True)
class RunStatus:
    """The state of a run. Ages are in seconds, by the clock of this machine."""

    step: int
    """Steps taken, of ``steps``."""
    steps: int
    loss: float | None
    """Of the last step; None before the first."""
    seconds_a_step: float | None
    """Median of the last 20 steps."""
    left_s: float | None
    metrics_age_s: float | None
    """Since metrics.jsonl was written: at every step in a local folder, at every checkpoint in an object store."""
    checkpoint: str | None
    """The name of the newest one; None if there is none yet."""
    checkpoint_step: int
    checkpoint_age_s: float | None
    data: tuple[str, ...]
    """The datasets or views that the run trains on."""


def read_status(run: Folder) -> RunStatus:
    """The state of a run; nothing is changed. InputError if the folder is not a run."""
    described = read_description(run)
    steps = int(described["config"]["steps"])
    lines = last_metrics(run, _STEPS)
    names = checkpoint_names(run)
    checkpoint = names[-1] if names else None
    saved = int(names[-1].rpartition("-")[2]) if names else 0
    step = max(int(lines[-1]["step"]) + 1 if lines else 0, saved)
    pace = median(line["seconds"] for line in lines) if lines else None
    return RunStatus(
        step=step,
        steps=steps,
        loss=lines[-1]["loss"] if lines else None,
        seconds_a_step=pace,
        left_s=None if pace is None else pace * max(0, steps - step),
        metrics_age_s=_age(run, METRICS),
        checkpoint=checkpoint,
        checkpoint_step=saved,
        checkpoint_age_s=None if checkpoint is None else _age(run / CHECKPOINTS / checkpoint, PROGRESS),
        data=tuple(str(data["uri"]) for data in described["data"].values()),
    )


def _age(folder: Folder, name: str) -> float | None:
    """Seconds since a file was written; None if there is none."""
    written = folder.modified(name)
    return None if written is None else max(0.0, (datetime.now(UTC) - written).total_seconds())
