"""The server of a study as a user starts it: a process of its own, which a test may kill."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port


class StudyServer:
    """``motif study serve`` on a port that stays the same. ``up`` is set while it answers."""

    def __init__(self, study: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.up = threading.Event()
        command = [sys.executable, "-m", "infra", "study", "serve", str(study), "--port", str(self.port), *options]
        self._command = command
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> dict[str, object]:
        """Start it; returns what it prints once it listens."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        ready = json.loads(self._process.stdout.readline())
        self.up.set()
        return dict(ready)

    def kill(self) -> None:
        """As a crash ends it."""
        self.up.clear()
        self.end(kill=True)

    def end(self, kill: bool = False) -> int:
        """Stop it as Ctrl+C does, or by SIGKILL; returns its status."""
        assert self._process is not None
        with self._process as process:
            process.kill() if kill else process.terminate()
            return process.wait(60)


@contextmanager
def serving(study: Path, *options: str) -> Iterator[StudyServer]:
    server = StudyServer(study, *options)
    server.start()
    try:
        yield server
    finally:
        server.end(kill=True)
