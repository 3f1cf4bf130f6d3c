"""Joining a Ray cluster, quietly, and leaving it."""

import contextlib
import logging
import os
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import ray
from ray.data import DataContext

from base.errors import Incomplete, RayletEnded
from base.quiet import silent_stderr

_LOOK_S = 0.25
_BEGAN = 19  # where /proc/PID/stat has the time of a process's start, counted from behind its name


def connect() -> None:
    """Join the cluster that RAY_ADDRESS names, or start Ray on this machine; quiet either way."""
    if not ray.is_initialized():
        # Ray's core complains of our actors' constructor arguments, and announces on stderr that it shall not.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        start_ray(lambda: ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False))
    # One progress display is enough, and it is ours.
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True
    # The options of _RESTARTS have no other name yet.
    warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated", DeprecationWarning)
    # What ends a graph becomes our error; the frames that it came through stay in Ray's log file.
    log = logging.getLogger("ray.data")
    log.setLevel(logging.ERROR)
    for handler in log.handlers:
        if type(handler).__name__ == "PlainRayHandler":
            handler.setLevel(logging.CRITICAL)


def start_ray(init: Callable[[], object], stop: Callable[[], object] = ray.shutdown) -> None:
    """Call ``init``, once more where Ray took longer than it allows itself, as on a busy machine; else Incomplete."""
    for last in (False, True):
        try:
            with silent_stderr():
                init()
            return
        except Exception as error:  # of no type of its own; also a ConnectionError where RAY_ADDRESS is wrong
            if _raylet_was_killed():
                raise RayletEnded() from error
            said = str(error).strip().splitlines() or [type(error).__name__]
            stop()
            if last or "timed out" not in str(error) or "RAY_ADDRESS" in os.environ:
                raise Incomplete(f"Ray does not start: {said[0]} `motif doctor` tells more; then run again.") from error


@contextlib.contextmanager
def session() -> Iterator[None]:
    """Leave the cluster at the end unless it was joined before.

    Until then Ray's own threads print to stdout what befell it. That goes nowhere: the error that ends a run says it.
    Where Ray's process on this machine (the raylet) ends, this process ends, too, with RayletEnded's status
    unless Ray itself ends it first, with status 1 and no word: :mod:`infra.guard` is there for that.
    """
    ours = not ray.is_initialized()
    watch = _RayletWatch()
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            with watch:
                yield
        finally:
            if ours:
                ray.shutdown()
            watch.stop.set()


class _RayletWatch:
    """Ends this process with a sentence once the raylet has ended.

    At once, and without a step of cleaning up: whatever thread next needs Ray's object store, be it one of Ray's own,
    waits without end, or Ray ends the process with status 1 and no word. A dataset bears that at every moment.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._stderr = os.dup(2)  # while Ray starts, 2 itself is silent
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        # Ray may have been the first to see it, and have raised an error of its own.
        if kind is not None and (_raylet_was_killed() or self._follow_raylet(_raylet_socket())):
            raise RayletEnded() from None

    def _watch(self) -> None:
        while not self.stop.wait(_LOOK_S):
            ended = _raylet_was_killed() or self._follow_raylet(_raylet_socket())
            if ended and not self.stop.is_set():
                os.write(self._stderr, f"motif: {RayletEnded()}\n".encode())
                os._exit(RayletEnded.exit_code)
        os.close(self._stderr)

    def _follow_raylet(self, path: str | None) -> bool:
        """Whether nobody listens at the raylet's socket. Keeps a connection while it is joined: that ends with it."""
        if path is None:
            return False
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(_LOOK_S)
            try:
                link.connect(path)
            except (ConnectionRefusedError, FileNotFoundError):
                return path == _raylet_socket()  # or it has just been left
            except OSError:  # busy
                return False
            while not self.stop.is_set() and path == _raylet_socket():
                try:
                    if not link.recv(1):
                        break
                except TimeoutError:
                    continue
                except ConnectionError:
                    break
        return False  # the next connection tells


def _raylet_was_killed() -> bool:
    """Whether the newest raylet that this process has started was killed, be it before Ray knew of its socket.

    While Ray starts, it waits for a dead raylet as for a slow one, and :func:`start_ray` would then start another. That
    is right for a raylet that gave up by itself, as on a busy machine, but not for one that the system killed.
    """
    raylets = {}
    for children in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # of a thread or a process that has gone in the meantime
            for pid in map(int, children.read_text().split()):
                name, _, fields = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(") ")
                if name == "raylet":
                    raylets[int(fields.split()[_BEGAN])] = pid
    if not raylets:
        return False
    try:  # without taking the status from Ray
        end = os.waitid(os.P_PID, raylets[max(raylets)], os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return end is not None and end.si_code == os.CLD_KILLED and end.si_status == signal.SIGKILL


def _raylet_socket() -> str | None:
    """Where the raylet listens; None before Ray has been joined and while it is being left."""
    node = ray._private.worker._global_node
    if not ray.is_initialized() or node is None or not node.raylet_socket_name:
        return None
    return str(node.raylet_socket_name.removeprefix("unix://"))


def cluster_facts() -> str:
    """Join or start a cluster, run a task on it, and tell what it has."""
    connect()
    ray.get(ray.remote(num_cpus=1)(lambda: None).remote())
    found = ray.cluster_resources()
    shares = f"{found.get('CPU', 0):.0f} cores, {found.get('GPU', 0):.0f} GPUs"
    store = found.get("object_store_memory", 0) / 1e9
    return f"{ray.__version__}, {len(ray.nodes())} nodes, {shares}, object store {store:.1f} GB; a task ran"
