"""One writer at a time: a lock that a live holder never loses, and a fence that stops a holder that has lost it.

There are no leases: clocks of machines are not compared, and a late holder may only be suspended or have slow storage.
The lock of an ended process on this machine is taken over immediately. Whether a process on another machine has ended
cannot be known, so the user confirms it with ``motif unlock``.

Files in the folder ``runs``:

    lock.json           the holder; created if missing, never changed
    lock-TOKEN.next     the successor of the holder TOKEN; of several candidates, one creates it
    lock-TOKEN.beat     the heartbeat counter of TOKEN

The holder is found by following lock.json and its successors to the last one, and no step overwrites a file that
another process may have changed.
"""

import contextlib
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from base.errors import Incomplete, InputError, StorageError
from base.storage.folder import Folder
from dataset.holder import Holder

FILE = "lock.json"
_BEAT_S = 10.0
PATIENCE_S = 2.5 * _BEAT_S
"""How long a lock of another machine is watched for a heartbeat."""
# Includes time in which the machine sleeps, unlike the monotonic clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True)
class Fence:
    """A writer's reference to its lock, to check before writing. Picklable, for writers in other processes."""

    place: Folder
    token: str
    what: str = "dataset"

    @property
    def folder(self) -> Folder:
        """The folder of the lock."""
        return self.place / "runs"

    def holds(self) -> bool:
        """Whether the lock is still held. Costs two small reads."""
        chain = read_chain(self.folder)
        return bool(chain) and chain[-1].token == self.token

    def check(self) -> None:
        """Raise Incomplete if the lock is lost; called before every commit."""
        chain = read_chain(self.folder)
        if not chain or chain[-1].token != self.token:
            now = f"{chain[-1]} holds it now" if chain and chain[-1].readable else "it was removed"
            raise Incomplete(
                f"{self.folder.uri}: it has lost its lock of the {self.what} ({now}), so it stops writing. Earlier "
                "work is kept; run the same command again once no other run writes there."
            )


class FenceWatch:
    """Checks a fence, but at most once per interval, by a clock that includes sleep."""

    def __init__(self, fence: Fence | None, every_s: float = _BEAT_S) -> None:
        self.fence, self.every_s = fence, every_s
        self._next = 0.0

    def check(self) -> None:
        """Raise Incomplete if the lock is lost."""
        now = time.clock_gettime(_CLOCK)
        if self.fence is not None and now >= self._next:
            self.fence.check()
            self._next = now + self.every_s


class WriteLock:
    """Context manager that holds ``runs/lock.json`` of a dataset (or another folder of ``what``) during a run.

    InputError names the holder of a held lock. ``report`` takes a line for the user before a long wait.
    """

    def __init__(
        self,
        place: Folder,
        what: str = "dataset",
        report: Callable[[str], None] = lambda line: None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.place = place
        self.folder = place / "runs"
        self.token = uuid.uuid4().hex
        self.fence = Fence(place, self.token, what)
        self._report = report
        self._patience_s = patience_s
        self._watched = FenceWatch(self.fence)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "WriteLock":
        while not self._take():
            pass
        self._thread.start()
        return self

    def check(self) -> None:
        """Raise Incomplete if the lock is lost; cheap enough to call for every part."""
        self._watched.check()

    def release_other(self) -> Holder | None:
        """Take the lock from a holder without signs of life and release it; returns the former holder.

        InputError if the holder is alive.
        """
        chain = read_chain(self.folder)
        if not chain:
            return None
        holder = chain[-1]
        if not holder.is_dead and (holder.is_here or self._watch(holder) is not None):
            raise InputError(f"{self.folder.uri}: {holder} holds this lock and is alive. Stop that process first.")
        if not self._create(f"lock-{holder.token}.next"):
            raise InputError(f"{self.folder.uri}: another process has just taken over this lock. Try again.")
        self._remove()
        return holder

    def _take(self) -> bool:
        """Try once; False to try again."""
        chain = read_chain(self.folder)
        if not chain:
            return self._create(FILE)
        holder = chain[-1]
        if not holder.is_dead:
            self._wait(holder)
            return False
        return self._create(f"lock-{holder.token}.next")

    def _create(self, name: str) -> bool:
        created = self.folder.create(name, Holder.here(self.token).content())
        if self.fence.holds():  # also if a PUT was repeated and found its own first attempt
            return True
        if created:  # the chain is gone: its last holder has released the lock meanwhile
            self.folder.delete(name)
        return False

    def _wait(self, holder: Holder) -> None:
        """Return once another holder has released the lock; InputError if it does not."""
        unlock = f"`motif unlock {self.place.uri}`"
        if not holder.readable:
            raise InputError(
                f"{self.folder.file(FILE)} is empty or damaged, so the holder of this {self.fence.what} is "
                f"unknown. If no run is writing to it, release it with {unlock}."
            )
        alive = True if holder.is_here else self._watch(holder)
        if alive is None:
            raise InputError(
                f"{self.folder.uri}: {holder} holds this {self.fence.what} and gave no sign of life in "
                f"{self._patience_s:.0f} s. If that run has certainly ended, release it with {unlock}."
            )
        if alive:
            raise InputError(
                f"{self.folder.uri}: another run is writing to this {self.fence.what} ({holder}). Wait for it, or stop "
                "it."
            )

    def _watch(self, holder: Holder) -> bool | None:
        """Whether the holder shows signs of life; False if it released the lock, None without signs."""
        self._report(
            f"{self.folder.uri}: {holder} holds the lock; watching for {self._patience_s:.0f} s whether it lives"
        )
        first, end = self._signs(holder), time.monotonic() + self._patience_s
        while time.monotonic() < end:
            time.sleep(min(1.0, self._patience_s / 10))
            chain = read_chain(self.folder)
            if not chain or chain[-1].token != holder.token:
                return False
            if self._signs(holder) != first:
                return True
        return None

    def _signs(self, holder: Holder) -> tuple[bytes | None, ...]:
        """What a live holder changes: its counter, or the lock itself in older versions."""
        return _read(self.folder, FILE), _read(self.folder, f"lock-{holder.token}.beat")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        # After an error, a storage failure must not hide it; the lock of an ended process is taken over anyway.
        with contextlib.suppress(*((StorageError, OSError) if error is not None else ())):
            if self.fence.holds():
                self._remove()

    def _remove(self) -> None:
        """Release the lock: lock.json first, without which its successors are void."""
        chain = read_chain(self.folder)
        self.folder.delete(FILE)
        for holder in chain:
            for ending in ("next", "beat"):
                self.folder.delete(f"lock-{holder.token}.{ending}")

    def _beat(self) -> None:
        count = 0
        while not self._stop.wait(_BEAT_S):
            # Temporary storage failures say nothing about the lock.
            with contextlib.suppress(StorageError, OSError):
                if not self.fence.holds():
                    return
                count += 1
                self.folder.write(f"lock-{self.token}.beat", str(count).encode())


def read_chain(folder: Folder) -> list[Holder]:
    """The holders of a lock, the current one last; empty if it is free."""
    chain: list[Holder] = []
    content = _read(folder, FILE)
    while content is not None:
        chain.append(Holder.read(content, chain))
        content = _read(folder, f"lock-{chain[-1].token}.next")
    return chain


def find_holder(place: Folder) -> Holder | None:
    """The process that holds the lock of a dataset or run, None if it is free. Changes nothing."""
    chain = read_chain(place / "runs")
    return chain[-1] if chain else None


def _read(folder: Folder, name: str) -> bytes | None:
    try:
        return folder.read(name)
    except FileNotFoundError:
        return None
