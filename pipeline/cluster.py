"""Joining a Ray cluster, quietly, and the one actor that counts what a run does on it."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

import ray
from ray.data import DataContext

from diffusion.errors import Incomplete
from diffusion.quiet import silent_stderr
from pipeline.monitor import Counts, Monitor, StageCount


def connect() -> None:
    """Join the cluster that RAY_ADDRESS names, or start Ray on this machine; quiet either way."""
    if not ray.is_initialized():
        # Ray's core complains of our actors' constructor arguments, and announces on stderr that it shall not.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        try:
            with silent_stderr():
                ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
        except Exception as error:  # of no type of its own; also a ConnectionError where RAY_ADDRESS is wrong
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise Incomplete(f"Ray does not start: {said[0]} `motif doctor` tells more; then run again.") from error
    # One progress display is enough, and it is ours.
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True
    # The options of _RESTARTS have no other name yet.
    warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated", DeprecationWarning)
    logging.getLogger("ray.data").setLevel(logging.ERROR)


@contextlib.contextmanager
def session() -> Iterator[None]:
    """Leave the cluster at the end unless it was joined before: until then Ray's own threads print to stdout."""
    ours = not ray.is_initialized()
    try:
        yield
    finally:
        if ours:
            ray.shutdown()


def cluster_facts() -> str:
    """Join or start a cluster, run a task on it, and tell what it has."""
    connect()
    ray.get(ray.remote(num_cpus=1)(lambda: None).remote())
    found = ray.cluster_resources()
    shares = f"{found.get('CPU', 0):.0f} cores, {found.get('GPU', 0):.0f} GPUs"
    store = found.get("object_store_memory", 0) / 1e9
    return f"{ray.__version__}, {len(ray.nodes())} nodes, {shares}, object store {store:.1f} GB; a task ran"


def new_monitor() -> Any:
    """A monitor on the cluster."""
    return ray.remote(num_cpus=0)(Monitor).remote()


def release(monitor: Any) -> None:
    """End every actor of a graph, so that its cores and GPUs are free for the next one however it ended.

    Ray Data ends them when nothing refers to the graph any more, and an error may refer to it for long.
    """
    for actor in ray.get(monitor.registered.remote()):
        ray.kill(actor)


def read_counts(monitor: Any, stages: tuple[str, ...]) -> Counts:
    """The counts of these stages."""
    counts, _ = ray.get(monitor.read.remote())
    return {stage: counts.get(stage, StageCount()) for stage in stages}
