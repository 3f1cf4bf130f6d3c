"""The server on Ray Serve: API replicas and worker replicas. The only file here that imports Ray.

Jobs are not passed through Ray but kept in the job store. ``api`` only calls a worker when a job waits, and the call
lasts until the worker has finished the batch that it claims. So the number of pending calls is the number of waiting
jobs, which Serve's autoscaling uses.
"""

import asyncio
import contextlib
import io
import logging
import os
import re
import signal
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig

from base.errors import Incomplete, InputError
from base.processes.quiet import silent_stderr
from serving.deploy.config import Config, Replicas, read_config
from serving.deploy.setup import check_store, only_server, open_store, open_videos
from serving.deploy.starting import start_ray
from serving.generate.models import ServedModel
from serving.http.api import build_api
from serving.http.guard import Guard
from serving.http.proxy import CALLBACK
from serving.jobs.upkeep import State
from serving.settings import Compute, Settings

log = logging.getLogger("ray.serve")
# Serve's own limits, high enough never to reject a call: the job store limits the queue, and its 429 says more.
_MANY = 10_000
_NAME = "motif"


@serve.ingress()
class Api:
    """A replica that answers HTTP requests."""

    def __init__(self, settings: Settings, models: list[ServedModel], workers: DeploymentHandle) -> None:
        self.settings, self.models, self.workers = settings, models, workers
        self.calls: set[asyncio.Task[None]] = set()
        self.loop = asyncio.get_event_loop()

    def __serve_build_asgi_app__(self) -> Guard:
        """The ASGI application; Serve calls this once."""
        return build_api(lambda: open_videos(self.settings, self.models, self.wake))

    def wake(self, waiting: int | None = None) -> None:
        """Call a worker, from any thread: one more job waits, or ``waiting`` in all."""
        self.loop.call_soon_threadsafe(self._send, waiting)

    def _send(self, waiting: int | None) -> None:
        missing = 1 if waiting is None else min(waiting, _MANY) - len(self.calls)
        for _ in range(missing):
            call = self.loop.create_task(self._call())
            self.calls.add(call)
            call.add_done_callback(self.calls.discard)

    async def _call(self) -> None:
        try:
            await self.workers.work.remote()
        except Exception:
            log.exception("a worker was lost")


class WorkerReplica:
    """A replica that generates videos."""

    def __init__(self, settings: Settings, models: list[ServedModel], compute: Compute) -> None:
        from serving.deploy.loading import open_worker  # imports torch, which API replicas do not need

        started = time.perf_counter()
        self.worker = open_worker(settings, models, compute)
        self.worker.open(models[0].id)  # before Serve calls this replica ready
        self.loading_s = round(time.perf_counter() - started, 2)
        self.worker.__enter__()

    def work(self) -> int:
        """Claim and finish one batch, if any job waits; returns the number of jobs."""
        return self.worker.work()

    def loading(self) -> float:
        """Seconds that loading the first model took."""
        return self.loading_s

    def check_health(self) -> None:
        """Serve replaces a replica that fails this check."""
        if self.worker.broken:
            raise RuntimeError("the device can no longer be used by this process")

    def __del__(self) -> None:
        if hasattr(self, "worker"):
            self.worker.__exit__()


_api = serve.deployment(Api, name="api", max_ongoing_requests=_MANY, ray_actor_options={"num_cpus": 0})
# A process that computes on all cores may be slow to answer health checks.
_worker = serve.deployment(
    WorkerReplica, name="worker", max_ongoing_requests=1, max_queued_requests=-1, health_check_timeout_s=120
)


def build(args: Mapping[str, Any]) -> serve.Application:
    """The application of a config file: ``import_path: serving.deploy.app:build``, ``args``: a :class:`Config`."""
    from serving.deploy.resolve import describe_all  # torch: the process of `motif serve` does without

    config = read_config(args).with_keys()
    return bind(config, describe_all(config))


def bind(config: Config, models: Sequence[ServedModel], alone: bool = False) -> serve.Application:
    """The application of a config. ``alone``: no other server uses its job store, see ``only_server``."""
    models = list(models)
    store = open_store(config.settings)
    earlier = store.upkeep.start_run(uuid.uuid4().hex, alone)
    if alone:
        store.upkeep.fail_unserved({model.id for model in models})
    videos = open_videos(config.settings, models, wake=lambda waiting=None: None)
    if alone and earlier:  # a new store knows none of the videos that an old folder holds
        videos.files.remove_all_but(store.upkeep.ids())
    videos.close()
    store.close()
    size = config.replicas
    scaling = {
        "min_replicas": size.workers,
        "max_replicas": size.most_workers,
        "target_ongoing_requests": config.settings.batch,
    }
    workers = _worker.options(
        autoscaling_config=scaling,
        ray_actor_options={"num_cpus": size.cpus, "num_gpus": size.gpus},
        # A server that shuts down has already waited in Running.drain.
        graceful_shutdown_timeout_s=5.0 if alone else size.drain_seconds,
    ).bind(config.settings, models, config.compute)
    return _api.options(num_replicas=size.api).bind(config.settings, models, workers)


def check_room(size: Replicas, nodes: Sequence[Mapping[str, float]]) -> None:
    """InputError when the workers cannot all start: Serve would wait forever. ``nodes`` has each node's resources."""
    asked = {name: each for name, each in (("CPU", size.cpus), ("GPU", size.gpus)) if each}
    # A worker runs on one node. The small constant absorbs the rounding of decimal fractions.
    places = [min(int(node.get(name, 0) / each + 1e-6) for name, each in asked.items()) for node in nodes if asked]
    if asked and sum(places) < size.workers:
        there = " + ".join(_listed({name: node.get(name, 0) for name in asked}) for node in nodes)
        raise InputError(
            f"--workers {size.workers}: each asks for {_listed(asked)}, and Ray has {there or 'nothing'}. Ask for "
            "fewer, or give each less with --cpus or --gpus."
        )


def _listed(resources: Mapping[str, float]) -> str:
    return " and ".join(f"{number:g} {name}" for name, number in resources.items())


class Running:
    """The application on this machine's Ray or the cluster of RAY_ADDRESS, whose other applications are left alone."""

    def __init__(
        self,
        config: Config,
        models: Sequence[ServedModel],
        host: str,
        port: int,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.config, self.models, self.host, self.port, self.report = config, models, host, port, report
        self.seconds: dict[str, float] = {}
        self.ours = False  # whether this process started Ray, and so shuts it down
        self._joined = self._begun = False  # whether this process connected to Ray, and started an application
        self._serve_was_there = True
        self._lock = contextlib.ExitStack()

    def __enter__(self) -> "Running":
        try:
            self._lock.enter_context(only_server(self.config.settings))
            check_store(self.config.settings)
            self._timed("ray", "starting Ray", self._start_ray)
            self._timed("serve", "starting Serve", self._start_serve)
            self._timed("application", f"loading {self.config.models[0].name}", self._start_application)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):  # a second one must not interrupt Ray's shutdown
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            self.__exit__()
            raise
        return self

    def _timed(self, phase: str, what: str, act: Callable[[], None]) -> None:
        self.report(what)
        started = time.perf_counter()
        act()
        self.seconds[phase] = round(time.perf_counter() - started, 2)

    def _start_ray(self) -> None:
        if ray.is_initialized():
            return
        # Serve's proxies find our middleware through the environment, which Ray's processes inherit.
        os.environ.update(CALLBACK)
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        self._joined = True  # set first: a failed start must be undone, too

        def start() -> None:
            with silent_stderr():
                ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)

        start_ray(start, ray.shutdown, self.report)
        # No public API tells: in a cluster that was running before, this process is not the head node.
        node = ray._private.worker._global_node
        self.ours = node is not None and node.is_head()

    def _start_serve(self) -> None:
        log.setLevel(logging.WARNING)
        there = serve.status()
        self._serve_was_there = bool(there.proxies or there.applications)
        if _NAME in there.applications:  # serve.run would replace it
            raise InputError(
                f"RAY_ADDRESS: this cluster already runs an application '{_NAME}'. Stop that server first, or use "
                "another cluster."
            )
        try:
            serve.start(
                http_options={"host": self.host, "port": self.port},
                logging_config=LoggingConfig(log_level="ERROR", enable_access_log=False),
            )
        except (RuntimeError, RayError) as error:  # another process took the port, or the machine is too busy
            raise Incomplete(f"Ray Serve did not start: {_last_line(str(error))} Run the command again.") from error

    def _start_application(self) -> None:
        quiet = LoggingConfig(log_level="WARNING", enable_access_log=False)
        check_room(self.config.replicas, [node["Resources"] for node in ray.nodes() if node["Alive"]])
        self._begun = True
        try:
            serve.run(bind(self.config, self.models, alone=True), name=_NAME, logging_config=quiet)
            loading = serve.get_deployment_handle("worker", _NAME).loading.remote().result()
            self.seconds["of it, the model"] = loading
        except (RuntimeError, RayError) as error:
            raise Incomplete(f"The server did not start: {_last_line(str(error))}") from error

    def drain(self, at_once: threading.Event) -> None:
        """Accept no more jobs and wait up to ``drain_seconds`` for running ones; ``at_once`` ends the wait."""
        store = open_store(self.config.settings)
        store.upkeep.drain()
        self.report(_goodbye(store.upkeep.state(), self.config))
        deadline = time.monotonic() + self.config.replicas.drain_seconds
        while store.upkeep.state().in_progress and time.monotonic() < deadline and not at_once.is_set():
            time.sleep(0.1)
        store.close()

    def __exit__(self, *_: object) -> None:
        # Ray logs every call that its shutdown interrupts.
        with self._lock, contextlib.redirect_stdout(io.StringIO()), silent_stderr():
            try:
                self._stop_serve()
            finally:
                if self._joined:
                    ray.shutdown()

    def _stop_serve(self) -> None:
        """Delete this server's application, and shut Serve down if nothing else uses it."""
        if self._begun and not self.ours:
            serve.delete(_NAME)
        if self.ours or not (self._serve_was_there or serve.status().applications):
            serve.shutdown()


def _goodbye(state: State, config: Config) -> str:
    runs, wait = state.in_progress, state.queued
    parts = []
    if runs:
        most = f"at most {config.replicas.drain_seconds:g} s, --drain-seconds"
        parts.append(f"{runs} running {'job is' if runs == 1 else 'jobs are'} finished first ({most})")
    if wait:
        jobs = "job stays" if wait == 1 else "jobs stay"
        parts.append(f"{wait} waiting {jobs} in {config.settings.folder} for the next start")
    message = ": ".join(["No more jobs are accepted", *([", ".join(parts)] if parts else [])])
    return message + ("; press Ctrl+C again to stop at once." if runs else ".")


def _last_line(report: str) -> str:
    """Why a Serve process failed: the last line of its traceback that names an error."""
    named = re.findall(r"^\s*(?:[\w.]+\.)?\w*(?:Error|Incomplete): (.+)$", report, re.MULTILINE)
    return named[-1] if named else report.strip().splitlines()[-1]
