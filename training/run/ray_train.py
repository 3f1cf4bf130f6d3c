"""The workers of a run under Ray Train: restarts, and forwarding of their messages and metrics.

Ray Train's controller imports this module, too; workers import torch code themselves.
"""

import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import ray
import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from base import errors, ray_session
from base.errors import Incomplete, InputError, MotifError, NotFinite
from base.ray_metrics import RayMetrics
from base.storage.uri import split
from training.run.messages import Messages
from training.run.step_metrics import StepMetrics

if TYPE_CHECKING:
    from training.run.job import TrainJob

Report = Callable[[str], None]
# Timeout of collectives, after which another worker counts as lost. Workers also wait this long while the first one
# writes a checkpoint, tens of gigabytes for the full model.
_PATIENCE_S = 1800
_POLL_S = 0.5


def train_on_ray(job: "TrainJob", report: Report) -> None:
    """Join or start a cluster and run the workers to the last step."""
    with ray_session.session():
        ray_session.connect()
        _fit(job, report)


def _fit(job: "TrainJob", report: Report) -> None:
    """Run the workers under Ray Train; a MotifError of a worker is raised again here."""
    hardware = job.config.hardware
    gpu = hardware.device == "cuda" or (hardware.device == "auto" and ray.cluster_resources().get("GPU", 0) > 0)
    _check_room(hardware.workers, gpu=gpu)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    messages = ray.remote(num_cpus=0, scheduling_strategy=here)(Messages).remote()
    filesystem, path = split((job.out / "ray").uri)
    trainer = TorchTrainer(
        _work,
        train_loop_config={"job": pickle.dumps(job), "teller": messages},
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo", timeout_s=_PATIENCE_S),
        scaling_config=ScalingConfig(num_workers=hardware.workers, use_gpu=gpu),
        run_config=RunConfig(
            # Each launch is a separate run for Ray; we resume from our own checkpoints.
            name=datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ"),
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=hardware.max_restarts),
        ),
    )
    ended: ray.train.TrainingFailedError | None = None
    with _repeating(messages, report, job):
        try:
            trainer.fit()
        except ray.train.TrainingFailedError as error:
            ended = error
    failed = ray.get(messages.failure.remote())
    if failed:
        kind, message = failed
        raise getattr(errors, kind, MotifError)(message)
    if ended is not None:
        raise Incomplete(
            f"workers died {hardware.max_restarts + 1} times ({_cause(ended)}). Check memory and the Ray "
            "logs, then run the same command again to resume from the last checkpoint."
        ) from ended


def _check_room(workers: int, *, gpu: bool) -> None:
    """InputError if the cluster is too small for the workers: Ray would wait forever."""
    kind = "GPU" if gpu else "CPU"
    there = int(ray.cluster_resources().get(kind, 0))
    if workers > there:
        raise InputError(
            f"hardware.workers {workers}: the cluster has {there} {kind}s, and each worker needs one. Use at most "
            f"{there} workers, or add nodes."
        )


def _work(given: dict[str, Any]) -> None:
    """The function of each Ray Train worker. Reports errors that a restart cannot fix, and raises others."""
    messages = given["teller"]
    if ray.get(messages.failure.remote()):
        return  # a restart after an error that it cannot fix
    from training.loop.parallel import World
    from training.run.worker import Worker

    context = ray.train.get_context()
    world = World(ray.train.torch.get_device(), context.get_world_rank(), context.get_world_size())
    try:
        job = pickle.loads(given["job"])
        tell = messages.tell.remote
        Worker(job, world, lambda line: tell(line) if world.first else None, trackers=[_ToDriver(messages)]).run()
    except NotFinite as error:  # raised on all workers alike, so each ends here without a restart
        ray.get(messages.fail.remote(type(error).__name__, str(error)))
    except (InputError, Incomplete) as error:
        ray.get(messages.fail.remote(type(error).__name__, str(error)))
        raise  # so that Ray ends the others, which may wait for this one


class _ToDriver:
    """A tracker that sends steps to the driver, whose metrics outlive a worker."""

    def __init__(self, messages: Any) -> None:
        self.messages = messages

    def log(self, step: int, values: dict[str, float]) -> None:
        self.messages.log.remote(step, values)

    def flush(self) -> None:
        """It sends at once."""

    def close(self) -> None:
        """Nothing is open."""


@contextmanager
def _repeating(messages: Any, report: Report, job: "TrainJob") -> Iterator[None]:
    """Within the context, report the workers' messages and export the metrics of their steps."""
    ended = threading.Event()
    exported = RayMetrics("run", job.out.uri)
    metrics = StepMetrics(exported, job.config.batch, job.config.steps)

    def repeat() -> None:
        lines, steps = ray.get(messages.take.remote())
        for line in lines:
            report(line)
        for step, values in steps:
            metrics.log(step, values)

    def listen() -> None:
        while not ended.wait(_POLL_S):
            repeat()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        with exported:
            yield
    finally:
        ended.set()
        thread.join()
        repeat()


def _cause(error: ray.train.TrainingFailedError) -> str:
    """The last line of the first failed worker's error."""
    failures = getattr(error, "worker_failures", {})
    said = str(next(iter(failures.values()), error)).strip().splitlines()
    return said[-1] if said else type(error).__name__
