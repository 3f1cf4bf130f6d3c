"""Metrics of a run: a line per step in metrics.jsonl, TensorBoard, and optional trackers."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from base.errors import InputError
from base.storage.folder import Folder

METRICS = "metrics.jsonl"
_MLFLOW = "mlflow.json"
_END = 64 << 10  # bytes; a line has some 300


@runtime_checkable
class Tracker(Protocol):
    """A destination of metrics."""

    def log(self, step: int, values: dict[str, float]) -> None:
        """Log the values of a step; the first step is 0."""

    def flush(self) -> None:
        """Write all values so far."""

    def close(self) -> None:
        """Finish."""


class Metrics:
    """metrics.jsonl of a run: one line per step, without gaps or repeats after interruptions.

    ``step`` counts from 0, as in all trackers: one less than on the terminal and in the name of the checkpoint after
    the step.
    Local files are appended to; in an object store the file is rewritten at each :meth:`flush`.
    """

    def __init__(self, run: Folder, step: int) -> None:
        self.run = run
        self.lines = [line for line in _lines(run) if json.loads(line)["step"] < step]
        run.write(METRICS, _joined(self.lines))

    def log(self, step: int, values: dict[str, float]) -> None:
        """Add the line of a step."""
        line = json.dumps({"step": step, **{name: _short(name, value) for name, value in values.items()}})
        self.lines.append(line)
        if not self.run.remote:
            with (self.run.path / METRICS).open("a") as stream:
                stream.write(line + "\n")

    def flush(self) -> None:
        """Write all lines so far."""
        if self.run.remote:
            self.run.write(METRICS, _joined(self.lines))

    def close(self) -> None:
        """Flush."""
        self.flush()


def read_metrics(run: Folder) -> list[dict[str, Any]]:
    """The steps of a run, in order. InputError if a line is not one that a run writes."""
    found = []
    for number, text in enumerate(_lines(run), 1):
        line = _parsed(text)
        if line is None:
            raise InputError(
                f"{run.file(METRICS)}: line {number} is damaged, or of another version of motif. Restore the file, or "
                "leave this run out."
            )
        found.append(line)
    return found


def _parsed(text: str) -> dict[str, Any] | None:
    """A line's values by name; None if they are not those of a step."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    if not isinstance(line, dict) or not {"step", "loss"} <= line.keys():
        return None
    return line if all(isinstance(value, int | float) for value in line.values()) else None


def last_metrics(run: Folder, count: int) -> list[dict[str, Any]]:
    """Up to ``count`` of a run's last steps, in order. Of a long file only the end is read."""
    try:
        with run.open(METRICS) as stream:
            size = stream.size()
            end = stream.read_at(min(size, _END), max(0, size - _END))
    except FileNotFoundError:
        return []
    lines = end.decode().split("\n")[0 if size <= _END else 1 : -1]  # the first and the last one may be partial
    return [json.loads(line) for line in lines[-count:]]


def _lines(run: Folder) -> list[str]:
    """Complete lines; a killed run may leave a partial last one."""
    if not run.exists(METRICS):
        return []
    return run.read(METRICS).decode(errors="replace").split("\n")[:-1]


def _joined(lines: Sequence[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


_TIMES = ("seconds", "data_wait", "clips_per_s", "memory_gb", "mfu")


def _short(name: str, value: float) -> float:
    """Round times to four digits; losses keep all, since runs are compared by them."""
    return float(f"{value:.4g}") if name in _TIMES else value


class TensorBoard:
    """TensorBoard's event files, in ``tensorboard`` of the run's folder; uploaded at each flush if it is remote."""

    def __init__(self, run: Folder, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder = run / "tensorboard"
        self.local = Path(tempfile.mkdtemp()) if run.remote else self.folder.path
        self.writer = SummaryWriter(str(self.local), purge_step=step)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Loss terms under "train", the rest under "speed"."""
        for name, value in values.items():
            room = "speed" if name in _TIMES else "train"
            self.writer.add_scalar(f"{room}/{name}", value, step)

    def flush(self) -> None:
        """Write pending events."""
        self.writer.flush()
        if self.folder.remote:
            for path in self.local.iterdir():
                self.folder.write(path.name, path.read_bytes())

    def close(self) -> None:
        """Write pending events and close."""
        self.flush()
        self.writer.close()
        if self.folder.remote:
            shutil.rmtree(self.local)


class Wandb:
    """Weights & Biases, if installed."""

    def __init__(self, run: Folder, config: dict[str, Any]) -> None:
        wandb = _import("wandb")
        name = run.uri.rstrip("/").rsplit("/", 1)[-1]
        place = hashlib.sha256(run.uri.encode()).hexdigest()[:8]  # folders of one name are not one run
        self.run = wandb.init(project="motif", name=name, id=f"{name}-{place}", resume="allow", config=config)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Numbers of a step."""
        self.run.log(values, step=step)

    def flush(self) -> None:
        """It sends by itself."""

    def close(self) -> None:
        """Finish the run there."""
        self.run.finish()


class MlFlow:
    """MLflow, if installed."""

    def __init__(self, run: Folder, config: dict[str, Any]) -> None:
        self.mlflow = _import("mlflow")
        if run.exists(_MLFLOW):  # resume the MLflow run, too
            self.mlflow.start_run(run_id=json.loads(run.read(_MLFLOW))["run_id"])
        else:
            started = self.mlflow.start_run(run_name=run.uri.rstrip("/").rsplit("/", 1)[-1])
            run.write(_MLFLOW, json.dumps({"run_id": started.info.run_id}).encode())
            self.mlflow.log_dict(config, "config.json")

    def log(self, step: int, values: dict[str, float]) -> None:
        """Numbers of a step."""
        self.mlflow.log_metrics(values, step=step)

    def flush(self) -> None:
        """It sends by itself."""

    def close(self) -> None:
        """Finish the run there."""
        self.mlflow.end_run()


def _import(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"trackers: '{name}' is not installed. Run `pip install {name}`, or leave it out.") from error


def check_trackers(names: Sequence[str]) -> None:
    """InputError if a tracker's package is missing."""
    for name in names:
        if name != "tensorboard":
            _import(name)


def open_trackers(names: Sequence[str], run: Folder, step: int, config: dict[str, Any]) -> list[Tracker]:
    """The trackers of a run that starts or resumes at ``step``. InputError if a package is missing."""
    trackers: list[Tracker] = []
    for name in names:
        if name == "tensorboard":
            trackers.append(TensorBoard(run, step))
        else:
            trackers.append(Wandb(run, config) if name == "wandb" else MlFlow(run, config))
    return trackers
