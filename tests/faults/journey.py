"""What a journey under faults is, and what came of a fault."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.faults.nodes import Nodes
from tests.faults.plan import Fault
from tests.faults.strike import strike

_MOST_RUNS = 6
_FINE = (0, 5, 130, -9)
"""Exit statuses of a run that a fault may end: done, incomplete, interrupted, killed."""


@dataclass(frozen=True)
class Outcome:
    """What came of a fault: when it hit, how often the command was run, and what is wrong with the result, if any."""

    hit_s: float
    runs: int
    wrong: str = ""


class Journey(Protocol):
    """A journey that faults disturb."""

    def prepare(self, nodes: Nodes) -> float:
        """Take the journey undisturbed, keep its result for comparison, and return its seconds."""

    def suffer(self, fault: Fault, nodes: Nodes, moment_s: float) -> Outcome | None:
        """Take the journey with a fault, repeating its command until it succeeds. None if it ended before the fault."""


def start(command: Sequence[object], environment: dict[str, str], log: Path) -> "subprocess.Popen[str]":
    """A motif command as a process; what it says goes to ``log``, its result to a pipe."""
    with log.open("a") as said:
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("motif")), *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=environment,
            cwd=log.parent,
            preexec_fn=os.setpgrp,
        )


def repeat(
    begin: "Callable[[], subprocess.Popen[str]]",
    hit: "Callable[[subprocess.Popen[str]], bool]",
    moment_s: float,
    judge: Callable[[str], str],
) -> Outcome | None:
    """Run a command with a fault, and again until it succeeds. None if it ended before the fault.

    ``judge`` is given what it printed and says what is wrong with its result, or "".
    """
    run = begin()
    hit_s = strike(run, moment_s, lambda: hit(run))
    for runs in range(1, _MOST_RUNS + 1):
        if runs > 1:
            run = begin()
        out, _ = run.communicate()
        if hit_s is None:
            return None
        if run.returncode == 0:
            return Outcome(hit_s, runs, judge(out))
        if run.returncode not in _FINE:
            return Outcome(hit_s, runs, f"exit status {run.returncode}")
    return Outcome(hit_s or 0.0, _MOST_RUNS, "it never succeeded")
