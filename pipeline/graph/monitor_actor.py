"""The one actor on a cluster that counts what a run does on it, and what is asked of it."""

import contextlib
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.graph.monitor import Counts, Monitor, StageCount


def new_monitor() -> Any:
    """A monitor, on the driver's machine: whichever other machine is lost, what was counted stays."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(Monitor).remote()


def held_by_others(monitor: Any, cpus: float, gpu: bool) -> str:
    """What other work holds, so that a task of ``cpus`` or an actor on a GPU finds no room, such as "all 2 cores".

    Empty where there is room, or where this run itself has rows in hand and so may hold the cores.
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
    """End every actor of a graph, so that its cores and GPUs are free for the next one however it ended.

    Ray Data ends them when nothing refers to the graph any more, and an error may refer to it for long.
    """
    with contextlib.suppress(ray.exceptions.RayError):  # the cluster is gone: what ended it says why
        for actor in ray.get(monitor.registered.remote()):
            ray.kill(actor)


def read_counts(monitor: Any, stages: tuple[str, ...]) -> Counts:
    """The counts of these stages."""
    counts: Counts = {}
    with contextlib.suppress(ray.exceptions.RayError):
        counts, _ = ray.get(monitor.read.remote())
    return {stage: counts.get(stage, StageCount()) for stage in stages}
