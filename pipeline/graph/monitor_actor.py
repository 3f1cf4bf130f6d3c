"""The monitor as a Ray actor, and what is told and asked of it."""

import contextlib
from typing import Any

import pyarrow as pa
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.graph.monitor import Counts, Monitor, Reporter, StageCount


class Monitors:
    """The monitor of the pass in progress: one actor for a whole run, because its process takes seconds to start."""

    def __init__(self) -> None:
        self.number = 0
        self.monitor = Monitor()

    def begin(self) -> int:
        """Start counting for another pass; returns its number."""
        self.number += 1
        self.monitor = Monitor()
        return self.number

    def tell(self, number: int, method: str, *content: Any) -> Any:
        """Call a method of the monitor. For an earlier pass, whose workers have ended, it is an empty one."""
        monitor = self.monitor if number == self.number else Monitor()
        return getattr(monitor, method)(*content)


class PassMonitor:
    """The monitor of one pass as seen from any process; each method returns Ray's reference to the answer."""

    def __init__(self, actor: Any, number: int) -> None:
        self.actor = actor
        self.number = number

    def enter(self, stage: str, worker: str, slots: tuple[str, ...], rows: int) -> Any:
        """As :meth:`Monitor.enter`."""
        return self.actor.tell.remote(self.number, "enter", stage, worker, slots, rows)

    def leave(self, stage: str, worker: str, rows: int, failed: int, seconds: float) -> Any:
        """As :meth:`Monitor.leave`."""
        return self.actor.tell.remote(self.number, "leave", stage, worker, rows, failed, seconds)

    def register(self, actor: Any) -> Any:
        """As :meth:`Monitor.register`."""
        return self.actor.tell.remote(self.number, "register", actor)

    def registered(self) -> Any:
        """As :meth:`Monitor.registered`."""
        return self.actor.tell.remote(self.number, "registered")

    def read(self) -> Any:
        """As :meth:`Monitor.read`."""
        return self.actor.tell.remote(self.number, "read")


def new_monitor(last: PassMonitor | None = None) -> PassMonitor:
    """A monitor on the driver's machine, so that counts survive the loss of other machines.

    It takes over the process of the pass before (``last``), if that lives.
    """
    if last is not None:
        with contextlib.suppress(ray.exceptions.RayActorError):
            return PassMonitor(last.actor, ray.get(last.actor.begin.remote()))
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(num_cpus=0, scheduling_strategy=here)(Monitors).remote()
    return PassMonitor(actor, ray.get(actor.begin.remote()))


class SuspectReporter(Reporter):
    """Also reports the clips of a batch, which are suspects if this actor (``worker``) dies."""

    def __init__(self, monitor: PassMonitor, stage: str, worker: str) -> None:
        super().__init__(monitor, stage)
        self.worker = worker

    def enter(self, table: pa.Table, rows: int) -> None:
        """Return once the monitor knows the clips: a message under way would be lost with the process."""
        slots = tuple(slot for slot in table.column("slot").to_pylist() if slot)
        with contextlib.suppress(ray.exceptions.RayActorError):  # a lost monitor does not fail the clips
            ray.get(self.monitor.enter(self.stage, self.worker, slots, rows))


def held_by_others(monitor: PassMonitor, cpus: float, gpu: bool) -> str:
    """The resources held by other work that block a task of ``cpus`` or a GPU actor, such as "all 2 cores".

    Empty if there is room, or if this run has rows in progress and so may hold the cores itself.
    """
    counts, _ = ray.get(monitor.read())
    if any(count.entered > count.left for count in counts.values()):
        return ""
    free, there = ray.available_resources(), ray.cluster_resources()
    if gpu and there.get("GPU", 0) > 0 and free.get("GPU", 0) < 1 and not ray.get(monitor.registered()):
        return f"all {there['GPU']:.0f} GPUs" if there["GPU"] > 1 else "its only GPU"
    cores = there.get("CPU", 0)
    return (f"all {cores:.0f} cores" if cores > 1 else "its only core") if free.get("CPU", 0) < cpus else ""


def release(monitor: PassMonitor) -> None:
    """Kill every actor of a graph, so that its cores and GPUs are free for the next graph.

    Ray Data only ends them once nothing refers to the graph, and an error may keep a reference for long.
    """
    with contextlib.suppress(ray.exceptions.RayError):  # the cluster is gone, and another error says why
        for actor in ray.get(monitor.registered()):
            ray.kill(actor)


def read_counts(monitor: PassMonitor, stages: tuple[str, ...]) -> Counts:
    """The counts of these stages."""
    counts: Counts = {}
    with contextlib.suppress(ray.exceptions.RayError):
        counts, _ = ray.get(monitor.read())
    return {stage: counts.get(stage, StageCount()) for stage in stages}
