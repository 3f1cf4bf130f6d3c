"""The monitor as a Ray actor, and what is told and asked of it."""

import contextlib
from typing import Any

import pyarrow as pa
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.graph.monitor import Counts, Monitor, Reporter, StageCount


def new_monitor() -> Any:
    """A monitor on the driver's machine, so that counts survive the loss of other machines."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(Monitor).remote()


class SuspectReporter(Reporter):
    """Also reports the clips of a batch, which are suspects if this actor (``worker``) dies."""

    def __init__(self, monitor: Any, stage: str, worker: str) -> None:
        super().__init__(monitor, stage)
        self.worker = worker

    def enter(self, table: pa.Table, rows: int) -> None:
        """Return once the monitor knows the clips: a message under way would be lost with the process."""
        slots = tuple(slot for slot in table.column("slot").to_pylist() if slot)
        with contextlib.suppress(ray.exceptions.RayActorError):  # a lost monitor does not fail the clips
            ray.get(self.monitor.enter.remote(self.stage, self.worker, slots, rows))


def held_by_others(monitor: Any, cpus: float, gpu: bool) -> str:
    """The resources held by other work that block a task of ``cpus`` or a GPU actor, such as "all 2 cores".

    Empty if there is room, or if this run has rows in progress and so may hold the cores itself.
    """
    counts, _ = ray.get(monitor.read.remote())
    if any(count.entered > count.left for count in counts.values()):
        return ""
    free, there = ray.available_resources(), ray.cluster_resources()
    if gpu and there.get("GPU", 0) > 0 and free.get("GPU", 0) < 1 and not ray.get(monitor.registered.remote()):
        return f"all {there['GPU']:.0f} GPUs" if there["GPU"] > 1 else "its only GPU"
    cores = there.get("CPU", 0)
    return (f"all {cores:.0f} cores" if cores > 1 else "its only core") if free.get("CPU", 0) < cpus else ""


def release(monitor: Any) -> None:
    """Kill every actor of a graph, so that its cores and GPUs are free for the next graph.

    Ray Data only ends them once nothing refers to the graph, and an error may keep a reference for long.
    """
    with contextlib.suppress(ray.exceptions.RayError):  # the cluster is gone, and another error says why
        for actor in ray.get(monitor.registered.remote()):
            ray.kill(actor)


def read_counts(monitor: Any, stages: tuple[str, ...]) -> Counts:
    """The counts of these stages."""
    counts: Counts = {}
    with contextlib.suppress(ray.exceptions.RayError):
        counts, _ = ray.get(monitor.read.remote())
    return {stage: counts.get(stage, StageCount()) for stage in stages}
