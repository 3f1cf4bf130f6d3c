"""What a process costs: its processor time with its children's, its peak of memory, and a fresh one to measure in."""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_CPUCLOCK_SCHED = 2  # the low bits of a Linux clock id that mean "scheduled time of a process"


def cpu_seconds() -> float:
    """Processor seconds of this process, of its children that have ended, and of those that live, all threads.

    ``RUSAGE_CHILDREN`` counts a child only once it has ended and was waited for; a decode child lives on, so its clock
    is read through the clock id that the kernel derives from the process id (``clock_getcpuclockid``).
    """
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    living = sum(time.clock_gettime((~child << 3) | _CPUCLOCK_SCHED) for child in _children())
    return time.process_time() + ended.ru_utime + ended.ru_stime + living


def _children() -> list[int]:
    lists = Path("/proc/self/task").glob("*/children")
    return [int(child) for found in lists for child in found.read_text().split()]


def peak_megabytes() -> float:
    """The most memory this process has had resident, in MB, what it shares with others included.

    ``ru_maxrss`` would start from the memory of the process that started this one.
    """
    status = Path("/proc/self/status").read_text()
    (kilobytes,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kilobytes) * 1024 / 1e6


def reset_peak() -> None:
    """Let :func:`peak_megabytes` begin anew from what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def seconds_since_start() -> float:
    """Wall seconds since this process was started, the interpreter's own start and all imports included."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def fresh(module: str, *arguments: object) -> dict[str, Any]:
    """Run ``python -m module arguments`` in a process of its own; the JSON object on the last line it prints."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
