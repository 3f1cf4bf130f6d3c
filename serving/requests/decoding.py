"""Decodes untrusted pictures in processes with limits on memory and CPU time."""

import contextlib
import json
import os
import queue
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from media.picture import PictureError
from serving.errors import ApiError

_AT_ONCE = 2  # processes: each may take a gigabyte for a moment
_DEADLINE_S = 60.0  # for a process that neither computes nor answers
_START_S = 60.0
_GROWN = 256 << 20  # bytes that a process may hold after a request
_BY_OTHERS = (signal.SIGKILL, signal.SIGTERM)  # not the decoder's fault: the system was out of memory


def too_busy() -> ApiError:
    """503: a picture was not decoded in time; retrying will help."""
    return ApiError(503, "busy", "The server is busy with other pictures: try again later.", retry_after=10)


@dataclass(frozen=True)
class DecodeLimits:
    """Resource limits for one picture."""

    megapixels: int = 40
    memory_mb: int = 0
    """Of the decoding process; by default what the largest picture of any format needs."""
    cpu_s: int = 10
    """CPU seconds; a progressive JPEG of 40 megapixels takes 3."""
    turn_s: float = 10.0
    """Seconds that a request waits for a free process."""

    def __post_init__(self) -> None:
        """Fill in the default: memory for the libraries and for decoding with all conversions."""
        if not self.memory_mb:
            object.__setattr__(self, "memory_mb", 512 + 32 * self.megapixels)


class PictureDecoder:
    """Decodes pictures in child processes, two at a time. Thread-safe."""

    def __init__(self, limits: DecodeLimits) -> None:
        self.limits = limits
        self.turns = threading.BoundedSemaphore(_AT_ONCE)
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        self._closed = False

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Reserve a process for the duration of the context; ApiError 503 if none becomes free in time."""
        if not self.turns.acquire(timeout=self.limits.turn_s):
            raise too_busy()
        try:
            yield
        finally:
            self.turns.release()

    def first_frame(self, data: bytes, height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
        """A picture file as RGB of this size; see :func:`media.picture.decode_picture`. Call it within :meth:`turn`.

        PictureError if the picture is at fault, including one that takes too much memory or CPU time; ApiError 503 if
        the machine is.
        """
        request = {"height": height, "width": width, "max_pixels": self.limits.megapixels * 1_000_000}
        for last in (False, True):
            process = self._take()
            try:
                answer = process.ask(request, data)
            except _ProcessEnded as end:
                process.kill()
                self._check(end, last)
                continue
            except BaseException:
                process.kill()
                raise
            frame = process.pixels(height, width) if answer.keys() == {"resident"} else None
            self._give_back(process, grown=answer["resident"] > _GROWN or "memory" in answer)
            if frame is not None:
                return frame
            if "memory" in answer:
                raise PictureError("image_too_large", "decoding this picture takes too much memory: make it smaller.")
            raise PictureError(answer["code"], answer["message"])
        raise AssertionError("unreachable")

    def _check(self, end: "_ProcessEnded", last: bool) -> None:
        """Return if another process should retry; otherwise raise the error for the caller."""
        if end.number == signal.SIGXCPU:
            most = f"{self.limits.cpu_s} s of CPU time"
            raise PictureError("invalid_image", f"decoding this picture takes more than {most}: save it anew.")
        if last and end.number in _BY_OTHERS:
            raise too_busy()
        if last:
            raise PictureError("invalid_image", "this picture crashes the decoder: save it anew.")

    def close(self) -> None:
        """End idle processes; busy ones end when they are given back."""
        self._closed = True
        while not self._idle.empty():
            self._idle.get().kill()

    def _take(self) -> "_Process":
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return _Process(self.limits)

    def _give_back(self, process: "_Process", grown: bool) -> None:
        if grown:  # allocators do not return memory to the system; start the next process before it is needed
            process.kill()
            process = _Process(self.limits)
        self._idle.put(process)
        if self._closed:
            self.close()


class _ProcessEnded(Exception):  # noqa: N818 - not an error by itself
    """``number`` is the signal that ended the process, or None."""

    def __init__(self, number: int | None) -> None:
        super().__init__(number)
        self.number = number


class _Process:
    """One child process; it starts in the background."""

    def __init__(self, limits: DecodeLimits) -> None:
        self._file = os.memfd_create("motif-picture")
        self._ready = False
        self._pending = b""
        numbers = (str(number) for number in (limits.memory_mb, limits.cpu_s, self._file))
        paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "serving.requests.picture_child", *numbers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[self._file],
            env=os.environ | paths | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    def ask(self, request: dict[str, Any], data: bytes) -> dict[str, Any]:
        """Send a request and wait for the answer; _ProcessEnded if the process ends first."""
        if not self._ready:
            self._line(_START_S)
            self._ready = True
        os.ftruncate(self._file, 0)
        self._write(data)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request | {"size": len(data)}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._end() from None
        return dict(json.loads(self._line(_DEADLINE_S)))

    def pixels(self, height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
        """The pixels that the last request produced."""
        data = os.pread(self._file, height * width * 3, 0)
        os.ftruncate(self._file, 0)  # otherwise up to 32 MiB stay allocated
        return np.frombuffer(data, np.uint8).reshape(height, width, 3)

    def kill(self) -> None:
        """Kill the process and close its files."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        os.close(self._file)

    def _write(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            at += os.pwrite(self._file, data[at : at + (1 << 24)], at)

    def _line(self, seconds: float) -> bytes:
        """The next line of output; ApiError 503 if none comes in time."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise too_busy()
                chunk = os.read(self._process.stdout.fileno(), 1 << 16)
                if not chunk:
                    raise self._end()
                self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _end(self) -> _ProcessEnded:
        code = self._process.wait()
        return _ProcessEnded(-code if code < 0 else None)
