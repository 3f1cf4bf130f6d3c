"""A parent process for commands that join Ray, which reports when Ray ends a process silently.

When Ray's own process on a machine (the raylet) is killed, Ray's library exits our process with status 1 at its next
use of the object store, without an exception, cleanup or message. So a command that joins Ray runs in a child of this
process, which can distinguish an exit by Ray from our own.
"""

import os
import signal
import sys
from typing import NoReturn

from base.errors import RayletEnded
from base.processes.parent import die_with_parent

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Guard:
    """Forks: the constructor only returns in the child, which calls :meth:`ends` before it exits by itself."""

    def __init__(self) -> None:
        parent = os.getpid()
        ends, self._ends = os.pipe()
        mask = {*_PASSED_ON, signal.SIGCHLD}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, mask)
        child = os.fork()
        if child:
            os.close(self._ends)
            _end_as(_wait(child, mask), ends)
        os.close(ends)
        die_with_parent(parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def ends(self) -> None:
        """Mark the coming exit as our own, even after an error."""
        os.write(self._ends, b".")


def _wait(child: int, mask: set[signal.Signals]) -> int:
    """Wait for a child and pass signals on to it; returns its status as ``os.waitpid`` does."""
    while True:
        arrived = signal.sigwaitinfo(mask)
        if arrived.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status
        elif arrived.si_code <= 0:  # sent by a process; signals of a terminal reach the child anyway
            os.kill(child, arrived.si_signo)


def _end_as(status: int, ends: int) -> NoReturn:
    """Exit as the child did, with an error message if Ray ended it."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
    # Processes left behind by the child may hold the pipe's write end open, so the read must not block.
    os.set_blocking(ends, False)
    try:
        own = bool(os.read(ends, 1))
    except BlockingIOError:
        own = False
    if code == 1 and not own:
        print(f"motif: {RayletEnded()}", file=sys.stderr, flush=True)
        code = RayletEnded.exit_code
    os._exit(code)
