"""One writer at a time: a lock file with a heartbeat, so that a killed run does not block the next one for long."""

import json
import os
import socket
import threading
import time
import uuid
from types import TracebackType

from diffusion.errors import InputError
from diffusion.storage import Folder

FILE = "lock.json"
Holder = dict[str, str | int | float]
_BEAT_S = 10.0
_STALE_S = 60.0


class WriteLock:
    """Holds ``runs/lock.json`` of a dataset, or of another folder with ``what`` in it, while a run writes to it.

    A lock left by a process that died on this machine, or that has not beaten for a minute, is taken over; another
    one is an InputError that names its holder.
    """

    def __init__(self, place: Folder, what: str = "dataset") -> None:
        self.folder = place / "runs"
        self.what = what
        self.token = uuid.uuid4().hex
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "WriteLock":
        while not self.folder.create(FILE, self._content()):
            holder = self._holder(FILE)
            if holder is None:
                continue  # given back just now
            if not _is_dead(holder):
                raise self._refusal(holder)
            if self._take_over(holder):
                break
        self._thread.start()
        return self

    def _take_over(self, dead: Holder) -> bool:
        """Replace the lock of a dead run. Of several that try at once, the one that sets the mark does it."""
        mark = f"takeover-{dead['token']}.json"
        if not self.folder.create(mark, self._content()):
            other = self._holder(mark)
            if other is not None and not _is_dead(other):
                raise self._refusal(other)
            self.folder.delete(mark)  # its setter died, too
            return False
        now = self._holder(FILE)
        taken = now is not None and now["token"] == dead["token"]
        if taken:
            self.folder.write(FILE, self._content())
        self.folder.delete(mark)
        return taken

    def _refusal(self, holder: Holder) -> InputError:
        return InputError(
            f"{self.folder.uri}: another run is writing to this {self.what} (process {holder['pid']} on "
            f"{holder['host']}). Wait for it, or stop it."
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._is_ours():
            self.folder.delete(FILE)

    def _content(self) -> bytes:
        facts = {"token": self.token, "host": socket.gethostname(), "pid": os.getpid(), "beat": time.time()}
        return json.dumps(facts).encode()

    def _holder(self, name: str) -> Holder | None:
        try:
            holder: Holder = json.loads(self.folder.read(name))
            return holder
        except FileNotFoundError:
            return None

    def _is_ours(self) -> bool:
        holder = self._holder(FILE)
        return holder is not None and holder["token"] == self.token

    def _beat(self) -> None:
        # A machine that slept for a minute may have lost the lock: it must not beat for the new holder.
        while not self._stop.wait(_BEAT_S) and self._is_ours():
            self.folder.write(FILE, self._content())


def _is_dead(holder: Holder) -> bool:
    if time.time() - float(holder["beat"]) > _STALE_S:
        return True
    if holder["host"] != socket.gethostname():
        return False
    try:
        os.kill(int(holder["pid"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _zombie(int(holder["pid"]))


def _zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - procfs, not a path of the user's
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return False
