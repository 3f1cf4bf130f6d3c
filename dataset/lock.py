"""One writer at a time: a lock that a live holder never loses, and a fence that stops a holder which lost it.

No clock is compared with another machine's, and lateness proves nothing: a suspended process or slow storage is late,
too. The lock of a process that has ended on this machine is taken over at once. Of a process elsewhere nobody can tell
from here that it has ended, so a person says so with ``motif unlock``.

Files in the folder ``runs``:

    lock.json           names the holder; created only where there is none, never changed
    lock-TOKEN.next     the same for who took over from the holder TOKEN; of several that try, one creates it
    lock-TOKEN.beat     a counter by which others see that TOKEN lives

So the holder is found by following lock.json and its successors to the last one, and no step replaces a file that
another process may have changed meanwhile.
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
"""How long a lock of another machine is watched for a sign of life."""
# Counts on while a machine sleeps, unlike the monotonic clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True)
class Fence:
    """Stands between a writer and the folder: the lock that it writes under. Picklable, for writers elsewhere."""

    place: Folder
    token: str
    what: str = "dataset"

    @property
    def folder(self) -> Folder:
        """Where the lock lies."""
        return self.place / "runs"

    def holds(self) -> bool:
        """Whether the lock is still held by who it was given to. Two small reads."""
        chain = read_chain(self.folder)
        return bool(chain) and chain[-1].token == self.token

    def check(self) -> None:
        """Incomplete where the lock is lost; called before every commit."""
        chain = read_chain(self.folder)
        if not chain or chain[-1].token != self.token:
            now = f"{chain[-1]} holds it now" if chain and chain[-1].readable else "it was removed"
            raise Incomplete(
                f"{self.folder.uri}: this run has lost its lock of the {self.what} ({now}), so it stops writing. What "
                "it wrote before is kept; run the same command again once no other run writes there."
            )


class FenceWatch:
    """Checks a fence again and again, reading it once in a while; by a clock that counts on while a machine sleeps."""

    def __init__(self, fence: Fence | None, every_s: float = _BEAT_S) -> None:
        self.fence, self.every_s = fence, every_s
        self._next = 0.0

    def check(self) -> None:
        """Incomplete where the lock is lost."""
        now = time.clock_gettime(_CLOCK)
        if self.fence is not None and now >= self._next:
            self.fence.check()
            self._next = now + self.every_s


class WriteLock:
    """Holds ``runs/lock.json`` of a dataset, or of another folder with ``what`` in it, while a run writes to it.

    InputError names the holder of a lock that is held. ``report`` takes a line for the user where that takes a while.
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
        """Incomplete where the lock is lost; cheap, for between two parts."""
        self._watched.check()

    def release_other(self) -> Holder | None:
        """Take the lock from a holder that is not seen to live, and give it back; returns who held it.

        InputError where the holder lives.
        """
        chain = read_chain(self.folder)
        if not chain:
            return None
        holder = chain[-1]
        if not holder.is_dead and (holder.is_here or self._watch(holder) is not None):
            raise InputError(f"{self.folder.uri}: {holder} holds this lock and is alive. Stop that process first.")
        if not self._create(f"lock-{holder.token}.next"):
            raise InputError(f"{self.folder.uri}: another process has just taken over this lock. Look again.")
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
        if self.fence.holds():  # also where a PUT arrived twice, and the second one found the first
            return True
        if created:  # the chain that it continued is gone: its last holder has given the lock back meanwhile
            self.folder.delete(name)
        return False

    def _wait(self, holder: Holder) -> None:
        """Return once another holder has given the lock back; InputError where it does not."""
        unlock = f"`motif unlock {self.place.uri}`"
        if not holder.readable:
            raise InputError(
                f"{self.folder.file(FILE)} is empty or damaged, so nobody can tell which run holds this "
                f"{self.fence.what}. If none is writing to it, release it with {unlock}."
            )
        alive = True if holder.is_here else self._watch(holder)
        if alive is None:
            raise InputError(
                f"{self.folder.uri}: {holder} holds this {self.fence.what} and gave no sign of life in "
                f"{self._patience_s:.0f} s. If that run has ended for certain, release it with {unlock}."
            )
        if alive:
            raise InputError(
                f"{self.folder.uri}: another run is writing to this {self.fence.what} ({holder}). Wait for it, or stop "
                "it."
            )

    def _watch(self, holder: Holder) -> bool | None:
        """Whether a lock is seen to be alive; False where it was given back, None where nothing moved."""
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
        """What a live holder changes: its counter, or the lock itself where an older version holds it."""
        return _read(self.folder, FILE), _read(self.folder, f"lock-{holder.token}.beat")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        # Where storage fails, what failed first says why; the lock of a process that has ended holds nobody up here.
        with contextlib.suppress(*((StorageError, OSError) if error is not None else ())):
            if self.fence.holds():
                self._remove()

    def _remove(self) -> None:
        """Give the lock back: lock.json first, without which its successors mean nothing."""
        chain = read_chain(self.folder)
        self.folder.delete(FILE)
        for holder in chain:
            for ending in ("next", "beat"):
                self.folder.delete(f"lock-{holder.token}.{ending}")

    def _beat(self) -> None:
        count = 0
        while not self._stop.wait(_BEAT_S):
            # Storage that fails for a while says nothing about the lock.
            with contextlib.suppress(StorageError, OSError):
                if not self.fence.holds():
                    return
                count += 1
                self.folder.write(f"lock-{self.token}.beat", str(count).encode())


def read_chain(folder: Folder) -> list[Holder]:
    """The holders of a lock, the present one last; empty where nobody holds it."""
    chain: list[Holder] = []
    content = _read(folder, FILE)
    while content is not None:
        chain.append(Holder.read(content, chain))
        content = _read(folder, f"lock-{chain[-1].token}.next")
    return chain


def _read(folder: Folder, name: str) -> bytes | None:
    try:
        return folder.read(name)
    except FileNotFoundError:
        return None
