"""Makes videos on many GPUs, or CPU cores, at once: an actor with the model on each, on the cluster of RAY_ADDRESS."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import ray

from base import ray_session
from base.errors import Incomplete, InputError, MotifError
from evaluation.bench.recipe import Device, Recipe
from evaluation.bench.worker import Batch, MadeVideos, Worker, read_batch

_RESTARTS = 3  # of a worker that dies; the batch that it was at is made again, with the same result
_POLL_S = 2.0


@contextmanager
def ray_workers(count: int, device: Literal["auto", "cpu", "cuda"]) -> "Iterator[RayWorkers]":
    """Join Ray, or start it on this machine. InputError if it has fewer than ``count`` GPUs, or cores."""
    with ray_session.session():
        ray_session.connect()
        there = ray.cluster_resources()
        gpus, cores = int(there.get("GPU", 0)), int(there.get("CPU", 0))
        if device == "cuda" and not gpus:
            raise InputError("--device cuda: the cluster has no GPU. Set it to auto or cpu.")
        on_gpus = gpus > 0 and device != "cpu"
        most, kind = (gpus, "GPUs") if on_gpus else (cores, "cores")
        if count > most:
            raise InputError(
                f"--workers {count}: the cluster has {most} {kind}, and each worker needs one. Use at most {most}."
            )
        yield RayWorkers(count, "cuda" if on_gpus else "cpu")


class RayWorkers:
    """Actors that make videos."""

    def __init__(self, count: int, device: Device) -> None:
        self.count, self.device = count, device

    def make(self, recipe: Recipe, batches: Sequence[Batch]) -> MadeVideos:
        """Make the videos of all batches; each goes to the next worker that is free.

        The first error ends it; what is in work is then lost.
        """
        share = {"num_gpus": 1, "num_cpus": 0} if self.device == "cuda" else {"num_cpus": 1}
        kind = ray.remote(max_restarts=_RESTARTS, max_task_retries=_RESTARTS, **share)(Worker)
        idle = [kind.remote(recipe) for _ in range(min(self.count, len(batches)))]
        left, working = deque(batches), dict[Any, tuple[Any, Batch]]()
        while left or working:
            while left and idle:
                worker, batch = idle.pop(), left.popleft()
                working[worker.make.remote(read_batch(batch))] = (worker, batch)
            ready, _ = ray.wait(list(working), timeout=_POLL_S)
            for reference in ready:
                worker, batch = working.pop(reference)
                yield batch, _result(reference, batch)
                idle.append(worker)


def _result(reference: Any, batch: Batch) -> list[bytes]:
    try:
        return list(ray.get(reference))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, MotifError):
            raise error.cause from None
        raise Incomplete(f"{batch[0].name} failed: {error.cause}.") from error
    except ray.exceptions.RayError as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise Incomplete(f"{batch[0].name}: its process ended ({said[0]}). Run the same command again.") from error
