"""A process around commands that join Ray, for what Ray does to a process without a word.

Where Ray's own process on a machine (the raylet) is killed, Ray's library ends ours with status 1 at its next use of
the object store: no exception is raised, nothing is cleaned up and nothing is said. So a command that joins Ray runs in
a child of this process, which tells an end of Ray's doing from one of ours.
"""

import os
import signal
import sys
from typing import NoReturn

from base.errors import RayletEnded
from base.parent import die_with_parent

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Guard:
    """Made in a parent, it returns in the child only. The child says with :meth:`ends` that its end is its own."""

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
        """Say that this process ends by what Python does, be it an error."""
        os.write(self._ends, b".")


def _wait(child: int, mask: set[signal.Signals]) -> int:
    """Wait for a child and pass signals on to it; returns its status as ``os.waitpid`` does."""
    while True:
        arrived = signal.sigwaitinfo(mask)
        if arrived.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status
        elif arrived.si_code <= 0:  # of a process; what a terminal sends reaches the child as well
            os.kill(child, arrived.si_signo)


def _end_as(status: int, ends: int) -> NoReturn:
    """End as the child did; with a sentence where Ray has ended it."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
    # The writing end may be open in processes that the child has left behind: what was not written by now never is.
    os.set_blocking(ends, False)
    try:
        own = bool(os.read(ends, 1))
    except BlockingIOError:
        own = False
    if code == 1 and not own:
        print(f"motif: {RayletEnded()}", file=sys.stderr, flush=True)
        code = RayletEnded.exit_code
    os._exit(code)
