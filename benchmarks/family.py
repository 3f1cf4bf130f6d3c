"""Processor time of a process with all that descend from it, as a local Ray does from its driver."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path


class Family:
    """Processor seconds of this process and its descendants, the ended ones as they were last seen."""

    def __init__(self) -> None:
        self._ticks: dict[int, int] = {}
        self._lock = threading.Lock()

    def cpu_seconds(self) -> float:
        """All of them until now."""
        with self._lock:
            self._look()
            return sum(self._ticks.values()) / os.sysconf("SC_CLK_TCK")

    def _look(self) -> None:
        spent: dict[int, int] = {}
        children: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it has ended
                fields = stat.read_text().rpartition(")")[2].split()
                process = int(stat.parent.name)
                children.setdefault(int(fields[1]), []).append(process)
                spent[process] = int(fields[11]) + int(fields[12])  # user and system
        family = [os.getpid()]
        for process in family:
            family += children.get(process, [])
        self._ticks |= {process: spent[process] for process in family if process in spent}


@contextlib.contextmanager
def watched_family(every_s: float) -> Iterator[Family]:
    """The family, looked at so often that little of a process is missed when it ends."""
    family, stop = Family(), threading.Event()

    def watch() -> None:
        while not stop.wait(every_s):
            family.cpu_seconds()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield family
    finally:
        stop.set()
        thread.join()
