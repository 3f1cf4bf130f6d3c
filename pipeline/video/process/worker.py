"""Drives a decode child: sends requests, enforces the deadline, replaces a child that hangs, dies or has grown old."""

import base64
import contextlib
import json
import mmap
import os
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from base.errors import StorageError
from pipeline.video.decoders import check_name
from pipeline.video.errors import VideoError
from pipeline.video.probe import Facts
from pipeline.video.sampling import Span


@dataclass(frozen=True)
class DecodeLimits:
    """Limits for one video. ``decoders`` are tried in order; the one used is recorded."""

    decoders: tuple[str, ...] = ("pyav", "decord")
    deadline_s: float = 60.0
    memory_mb: int = 4096
    clips_a_child: int = 500
    """A new process after this many clips, since native decoders leak memory."""

    def __post_init__(self) -> None:
        """Check the limits."""
        if not self.decoders:
            raise ValueError("decoders: give at least one")
        for name in self.decoders:
            check_name(name)
        if not self.deadline_s > 0:
            raise ValueError(f"deadline_s {self.deadline_s}: must be above 0")
        if self.memory_mb < 512:
            raise ValueError(f"memory_mb {self.memory_mb}: must be at least 512, which the decoders themselves need")
        if self.clips_a_child < 1:
            raise ValueError(f"clips_a_child {self.clips_a_child}: must be at least 1")


class VideoWorker:
    """Probes and decodes in a child process; one request at a time. Close it, or let it die with this process."""

    def __init__(self, limits: DecodeLimits) -> None:
        self.limits = limits
        self._child: _Child | None = None

    def probe(self, uri: str) -> Facts:
        """The properties of a video. Raises VideoError if the video is at fault, StorageError if the store is."""
        facts = self._ask({"op": "probe", "uri": uri}, 0)[0]
        return Facts(**facts | {"times": facts["times"] and base64.b64decode(facts["times"])})

    def decode(
        self, uri: str, span: Span, wanted: dict[str, Any], content: str | None = None
    ) -> tuple[str, UInt8[np.ndarray, "t h w 3"]]:
        """The decoder's name and the frames of a clip (a view into shared memory, valid until the next call).

        ``wanted``: the fields of :class:`pipeline.video.decoders.Request` except path and span. With ``content``, the
        content hash of the probe, a file with other bytes is a VideoError SourceChanged.
        """
        shape = (wanted["count"], wanted["height"], wanted["width"], 3)
        size = int(np.prod(shape))
        request = {
            "op": "decode",
            "uri": uri,
            "span": asdict(span),
            "wanted": wanted,
            "decoders": self.limits.decoders,
            "content": content,
        }
        name, child = self._ask(request, size)
        return name, np.frombuffer(child.memory(size), np.uint8, count=size).reshape(shape)

    def _ask(self, request: dict[str, Any], size: int) -> tuple[Any, "_Child"]:
        """Send a request, retried once in a new child if the child was killed or crashed."""
        for last in (False, True):
            child = self._ready()
            try:
                answer = child.ask(request, size, self.limits.deadline_s)
            except TimeoutError:
                self.close()
                raise VideoError("Timeout", f"no answer within {self.limits.deadline_s:g} s") from None
            except _ChildDied as death:
                self.close()
                if last:
                    raise VideoError("DecoderDied", f"the decode process ended with {death}, twice") from None
                continue
            if "ok" in answer:
                return answer["ok"], child
            if "storage" in answer:
                raise StorageError(answer["storage"])
            if answer["kind"] == "OutOfMemory":
                self.close()  # its state after the failed allocation is unknown
                raise VideoError("OutOfMemory", f"decoding needs more than {self.limits.memory_mb} MB")
            raise VideoError(answer["kind"], answer["message"])
        raise AssertionError("unreachable")

    def _ready(self) -> "_Child":
        if self._child is not None and self._child.served >= self.limits.clips_a_child:
            self.close()
        if self._child is None:
            try:
                self._child = _Child(self.limits.memory_mb)
            except _StartError:  # it may have been killed: retry once
                self._child = _Child(self.limits.memory_mb)
        return self._child

    def close(self) -> None:
        """Kill the child, if there is one."""
        if self._child is not None:
            self._child.kill()
            self._child = None


_START_S = 120.0


class _ChildDied(Exception):  # noqa: N818
    """The child ended; the message is a signal's name or an exit status."""


class _StartError(RuntimeError):
    """The child ended or timed out before it was ready."""


class _Child:
    def __init__(self, memory_mb: int) -> None:
        answers, answers_there = os.pipe()
        self._frames_fd = os.memfd_create("motif-frames", 0)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.video.process.child", str(answers_there), str(memory_mb)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(answers_there, self._frames_fd),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"},
        )
        os.close(answers_there)
        self._answers = answers
        self._selector = selectors.DefaultSelector()
        self._selector.register(answers, selectors.EVENT_READ)
        self._pending = b""
        self._memory: mmap.mmap | None = None
        self.served = 0
        try:  # not deadline_s, which is for a video: starting may be slow on a busy machine
            self._line(time.monotonic() + _START_S)
        except (TimeoutError, _ChildDied) as error:
            self.kill()
            raise _StartError(f"the decode process did not start: {error or 'no answer'}") from error

    def ask(self, request: dict[str, Any], size: int, deadline_s: float) -> dict[str, Any]:
        """Send a request and wait for its answer; TimeoutError or _ChildDied if none comes."""
        if size:
            self.memory(size)
        line = json.dumps(request | {"frames_fd": self._frames_fd}).encode() + b"\n"
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise _ChildDied(self._end()) from None
        self.served += 1
        return dict(json.loads(self._line(time.monotonic() + deadline_s)))

    def _line(self, deadline: float) -> bytes:
        while b"\n" not in self._pending:
            if not self._selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            chunk = os.read(self._answers, 1 << 16)
            if not chunk:
                raise _ChildDied(self._end())
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def memory(self, size: int) -> mmap.mmap:
        """The shared memory for frames, at least ``size`` bytes."""
        if self._memory is None or len(self._memory) < size:
            os.ftruncate(self._frames_fd, size)
            self._memory = mmap.mmap(self._frames_fd, size)  # an older map lives on while arrays refer to it
        return self._memory

    def _end(self) -> str:
        code = self._process.wait()
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"

    def kill(self) -> None:
        """Kill the process and close its pipes and memory."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._selector.close()
        os.close(self._answers)
        os.close(self._frames_fd)
        self._memory = None
