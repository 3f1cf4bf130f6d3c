from pathlib import Path

import pytest
import torch

from base.storage.folder import Folder
from tests.recorded import Recorded
from tests.training.runs import toy_job, train_here
from training.loop.parallel import World
from training.run.step_metrics import StepMetrics
from training.run.tracking import read_metrics
from training.run.worker import Worker

NAME = "ray_motif_train_"


class ToMetrics:
    """A tracker."""

    def __init__(self, metrics: StepMetrics) -> None:
        self.log = metrics.log

    def flush(self) -> None: ...

    def close(self) -> None: ...


def values(recorded: Recorded) -> dict[str, float]:
    """Those of metrics without labels of their own."""
    return {name.removeprefix(NAME): value for (name, *labels), value in recorded.values.items() if not labels}


def test_a_run_exports_what_its_metrics_file_has(toy_dataset: Folder, tmp_path: Path) -> None:
    recorded = Recorded()
    job = toy_job(toy_dataset, tmp_path / "run")
    tracker = ToMetrics(StepMetrics(recorded, job.config.batch, job.config.steps))
    Worker(job, World(torch.device("cpu")), lambda line: None, trackers=[tracker]).run()
    lines = read_metrics(job.out)
    last = lines[-1]
    found = values(recorded)
    assert found.pop("seconds_total") == pytest.approx(sum(line["seconds"] for line in lines), rel=1e-3)
    assert found.pop("data_wait_seconds_total") == pytest.approx(sum(line["data_wait"] for line in lines), rel=1e-3)
    assert found == {
        "steps_total": 4,
        "clips_total": 16,
        "step": 4,
        "last_step": 4,
        "grad_norm": last["grad_norm"],
        "learning_rate": last["lr"],
        "epoch": last["epoch"],
    }
    terms = {term: recorded.values[f"{NAME}loss", term] for term in ("total", "plain", "motion")}
    assert terms == {"total": last["loss"], "plain": last["plain"], "motion": last["motion"]}
    assert len(recorded.values) == 9 + 3


def test_a_resumed_run_counts_its_own_steps_and_shows_those_of_the_run(toy_dataset: Folder, tmp_path: Path) -> None:
    train_here(toy_job(toy_dataset, tmp_path / "run", steps=2))
    recorded = Recorded()
    metrics = StepMetrics(recorded, 4, 4)
    for line in read_metrics(train_here(toy_job(toy_dataset, tmp_path / "run", steps=4)).job.out)[2:]:
        metrics.log(line.pop("step"), line)
    found = values(recorded)
    assert (found["steps_total"], found["step"]) == (2, 4)


def test_what_only_a_gpu_has_is_exported_in_bytes_and_shares() -> None:
    recorded = Recorded()
    line = {"loss": 1.0, "seconds": 2.0, "data_wait": 0.5, "clips_per_s": 2.0, "memory_gb": 38.5, "mfu": 0.4}
    StepMetrics(recorded, 4, 10).log(0, line)
    found = values(recorded)
    assert (found["gpu_memory_bytes"], found["mfu"]) == (pytest.approx(38.5e9), 0.4)
