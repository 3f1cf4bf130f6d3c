"""Who holds a lock, and whether that process has ended for certain."""

import hashlib
import json
import os
import re
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_TOKEN = re.compile(r"^[0-9a-z-]{1,64}$")


@dataclass(frozen=True)
class Holder:
    """The process that a lock file names.

    ``machine`` identifies one boot of one machine and the process numbers that hold there; empty where the holder did
    not say, as older versions did. ``started`` is when the process began, in clock ticks since boot: a number given to
    another process later is thus told apart. Neither changes when a clock is set.
    """

    token: str
    host: str = ""
    pid: int = 0
    machine: str = ""
    started: int = 0

    @classmethod
    def here(cls, token: str) -> "Holder":
        """The process that asks."""
        return cls(token, socket.gethostname(), os.getpid(), _machine(), _started(os.getpid()) or 0)

    @classmethod
    def read(cls, content: bytes, before: Sequence["Holder"] = ()) -> "Holder":
        """The holder that a lock file names; one without a host where the file is empty or damaged.

        ``before`` are the holders that it followed: none of them can be meant again.
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
        """The lock file that names this holder."""
        return json.dumps(asdict(self)).encode()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.readable else "an unknown process"

    @property
    def readable(self) -> bool:
        """Whether the lock file named a process."""
        return bool(self.host)

    @property
    def is_here(self) -> bool:
        """Whether the process would be found on this machine if it lives."""
        return bool(self.machine) and self.machine == _machine()

    @property
    def is_dead(self) -> bool:
        """Whether the process has ended for certain; of a process elsewhere that is never certain."""
        if not self.is_here:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # somebody else's process
        started = _started(self.pid)
        return started is not None and self.started not in (0, started)


def _machine() -> str:
    """One boot of the machine, and the namespace of its process numbers (a container has its own)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; -1 for one that has ended, None where it cannot be told."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return -1 if fields[0] in "ZX" else int(fields[19])
