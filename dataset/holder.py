"""The holder of a lock, and whether its process has certainly ended."""

import hashlib
import json
import os
import re
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

_TOKEN = re.compile(r"^[0-9a-z-]{1,64}$")


@dataclass(frozen=True)
class Holder:
    """The process in a lock file.

    ``machine`` identifies one boot of a machine and its pid namespace; empty in lock files of older versions.
    ``started`` is the process's start time in clock ticks since boot, which detects reused pids. Neither changes when
    a clock is set.
    """

    token: str
    host: str = ""
    pid: int = 0
    machine: str = ""
    started: int = 0

    @classmethod
    def here(cls, token: str) -> "Holder":
        """The current process."""
        return cls(token, socket.gethostname(), os.getpid(), _machine(), _started(os.getpid()) or 0)

    @classmethod
    def read(cls, content: bytes, before: Sequence["Holder"] = ()) -> "Holder":
        """The holder in a lock file; without a host if the file is empty or damaged.

        ``before`` are its predecessors, which cannot occur again.
        """
        try:
            facts = json.loads(content)
            token, host, pid = facts["token"], facts["host"], facts["pid"]
            known = isinstance(host, str) and isinstance(pid, int) and _TOKEN.match(token)
            if not known or any(holder.token == token for holder in before):
                raise ValueError(token)
            return cls(token, host, pid, str(facts.get("machine", "")), int(facts.get("started", 0)))
        except (ValueError, TypeError, KeyError):
            return cls(f"unreadable-{len(before)}-{hashlib.sha256(content).hexdigest()[:16]}")

    def content(self) -> bytes:
        """The lock file's content for this holder."""
        return json.dumps(asdict(self)).encode()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.readable else "an unknown process"

    @property
    def readable(self) -> bool:
        """Whether the lock file was valid."""
        return bool(self.host)

    @property
    def is_here(self) -> bool:
        """Whether the process is (or was) on this machine and boot."""
        return bool(self.machine) and self.machine == _machine()

    @property
    def is_dead(self) -> bool:
        """Whether the process has certainly ended; never known for processes on other machines."""
        if not self.is_here:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # another user's process
        started = _started(self.pid)
        return started is not None and self.started not in (0, started)

    @property
    def state(self) -> Literal["alive", "ended", "elsewhere", "unknown"]:
        """What is known about the process: ``elsewhere`` is on another machine, ``unknown`` has no valid lock file."""
        if not self.readable:
            return "unknown"
        if not self.is_here:
            return "elsewhere"
        return "ended" if self.is_dead else "alive"


def _machine() -> str:
    """The machine's boot id and pid namespace (containers have their own)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """A process's start time in clock ticks since boot; -1 if it has ended, None if unknown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return -1 if fields[0] in "ZX" else int(fields[19])
