"""Joins a Ray cluster quietly, and leaves it."""

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
from base.processes.quiet import silent_stderr

_LOOK_S = 0.25
_BEGAN = 19  # index of a process's start time in /proc/PID/stat, counted after its name


def connect() -> None:
    """Join the cluster of RAY_ADDRESS, or start Ray on this machine, without output."""
    if not ray.is_initialized():
        # Ray's core warns about our actors' constructor arguments on stderr.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        start_ray(lambda: ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False))
    # We have our own progress display.
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True
    # There is no other API yet for the options of _RESTARTS.
    warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated", DeprecationWarning)
    # Errors of a graph become our own; tracebacks stay in Ray's log file.
    log = logging.getLogger("ray.data")
    log.setLevel(logging.ERROR)
    for handler in log.handlers:
        if type(handler).__name__ == "PlainRayHandler":
            handler.setLevel(logging.CRITICAL)


def start_ray(init: Callable[[], object], stop: Callable[[], object] = ray.shutdown) -> None:
    """Call ``init``, with one retry if Ray timed out, as on a busy machine. Raises Incomplete."""
    for last in (False, True):
        try:
            with silent_stderr():
                init()
            return
        except Exception as error:  # Ray has no error type for this; ConnectionError if RAY_ADDRESS is wrong
            if _raylet_was_killed():
                raise RayletEnded() from error
            said = str(error).strip().splitlines() or [type(error).__name__]
            stop()
            if last or "timed out" not in str(error) or "RAY_ADDRESS" in os.environ:
                raise Incomplete(f"Ray did not start: {said[0]} {_remedy()}") from error


def _remedy() -> str:
    # Ray asks for a token on a machine where one is left, but does not send it by itself.
    token = "If the cluster asks for a token, set RAY_AUTH_MODE=token. " if "RAY_ADDRESS" in os.environ else ""
    return token + "Run `motif doctor` for details."


@contextlib.contextmanager
def session() -> Iterator[None]:
    """Leave the cluster at the end, unless it was joined before.

    Meanwhile output of Ray's threads on stdout is discarded: the error that ends a run explains the failure. If Ray's
    process on this machine (the raylet) ends, this process exits with RayletEnded's status, unless Ray itself exits it
    first, silently with status 1, which :mod:`infra.guard` handles.
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
    """Exits this process with a message once the raylet has ended.

    It exits immediately without cleanup: any thread that uses Ray's object store next would hang, or Ray would exit the
    process silently with status 1. Datasets are consistent at any time, so this is safe.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._stderr = os.dup(2)  # 2 itself is redirected while Ray starts
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        # Ray may have noticed first and raised its own error.
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
        """Whether the raylet's socket is dead. Blocks on a connection, which ends when the raylet does."""
        if path is None:
            return False
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(_LOOK_S)
            try:
                link.connect(path)
            except (ConnectionRefusedError, FileNotFoundError):
                return path == _raylet_socket()  # False if the cluster was just left
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
        return False  # the next connection attempt decides


def _raylet_was_killed() -> bool:
    """Whether the newest raylet started by this process was killed, even before its socket was known.

    On startup Ray waits for a dead raylet as for a slow one, and :func:`start_ray` would then retry. That is right for
    a raylet that gave up by itself, as on a busy machine, but not for one that the system killed.
    """
    raylets = {}
    for children in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread or process that has ended meanwhile
            for pid in map(int, children.read_text().split()):
                name, _, fields = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(") ")
                if name == "raylet":
                    raylets[int(fields.split()[_BEGAN])] = pid
    if not raylets:
        return False
    try:  # WNOWAIT leaves the status for Ray
        end = os.waitid(os.P_PID, raylets[max(raylets)], os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return end is not None and end.si_code == os.CLD_KILLED and end.si_status == signal.SIGKILL


def _raylet_socket() -> str | None:
    """The raylet's socket; None before joining and while leaving Ray."""
    node = ray._private.worker._global_node
    if not ray.is_initialized() or node is None or not node.raylet_socket_name:
        return None
    return str(node.raylet_socket_name.removeprefix("unix://"))


def cluster_facts() -> str:
    """Join or start a cluster, run a task on it, and describe its resources."""
    connect()
    ray.get(ray.remote(num_cpus=1)(lambda: None).remote())
    found = ray.cluster_resources()
    shares = f"{found.get('CPU', 0):.0f} cores, {found.get('GPU', 0):.0f} GPUs"
    store = found.get("object_store_memory", 0) / 1e9
    return f"{ray.__version__}, {len(ray.nodes())} nodes, {shares}, object store {store:.1f} GB; a task ran"
