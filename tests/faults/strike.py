"""Kills a process of a journey at a moment."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable

from tests.processes import descendants

_LOOK_S = 0.01  # between two looks at the clock


def strike(run: "subprocess.Popen[str]", moment_s: float, hit: Callable[[], bool]) -> float | None:
    """Call ``hit`` from ``moment_s`` seconds on until it says that it has hit; returns when, None if the run ended."""
    started = time.monotonic()
    while run.poll() is None:
        passed = time.monotonic() - started
        if passed >= moment_s and hit():
            return passed
        time.sleep(_LOOK_S)
    return None


def kill_one(mark: str, of: int, draw: random.Random) -> bool:
    """Kill -9 one of the processes under ``of`` that have ``mark`` in their command lines; False if there is none."""
    found = sorted(pid for pid, command in descendants(of) if mark in command)
    if not found:
        return False
    try:
        os.kill(draw.choice(found), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
