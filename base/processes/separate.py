"""A call in a process of its own: what it imports takes no memory here, and both go on at the same time."""

import importlib
import multiprocessing
import os
import signal
import traceback
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from base.errors import Incomplete, MotifError
from base.processes.parent import die_with_parent


class SeparateCall:
    """Calls a function in a new process, which starts at once and ends with the context.

    ``function`` is named as ``"package.module:function"``, so that its module is never imported here; its arguments
    and its result are pickled.
    """

    def __init__(self, function: str, *args: object) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._answer, sending = spawning.Pipe(duplex=False)
        self._process = spawning.Process(target=_call, args=(sending, os.getpid(), function, args), daemon=True)
        resource_tracker.ensure_running()  # else the first start() does, and unblocks SIGINT before it spawns
        # Ctrl+C reaches every process of a terminal; the new one leaves it to this one, which then ends it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        sending.close()

    def result(self) -> Any:
        """Wait for the function's result.

        Raises its error if that is one of ``base.errors``, RuntimeError with the traceback of any other, and Incomplete
        if its process was ended.
        """
        try:
            succeeded, value = self._answer.recv()
        except EOFError:
            self._process.join()
            raise Incomplete(
                f"A process of this command ended with status {self._process.exitcode}; often the machine is out of "
                "memory. Run the command again."
            ) from None
        if not succeeded:
            raise value
        return value

    def __enter__(self) -> "SeparateCall":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._answer.close()


def _call(sending: Connection, parent: int, function: str, args: tuple[object, ...]) -> None:
    die_with_parent(parent)
    module, _, name = function.partition(":")
    try:
        answer = (True, getattr(importlib.import_module(module), name)(*args))
    except MotifError as error:
        answer = (False, error)
    except Exception:  # noqa: BLE001 - result() raises it
        answer = (False, RuntimeError(f"In a process of this command:\n{traceback.format_exc()}"))
    sending.send(answer)
