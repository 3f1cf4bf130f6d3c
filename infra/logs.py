"""Messages as JSON on demand: with MOTIF_LOG=json every line on stderr becomes one JSON object."""

import io
import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import TextIO

from base.errors import InputError

VARIABLE = "MOTIF_LOG"


def choose_format(environment: Mapping[str, str] = os.environ) -> None:
    """Write stderr as MOTIF_LOG asks: ``json``, or ``text`` by default. InputError for anything else."""
    wanted = environment.get(VARIABLE) or "text"
    if wanted not in ("text", "json"):
        raise InputError(f"{VARIABLE} '{wanted}': use json or text.")
    if wanted == "json":
        sys.stderr = JsonLines(sys.stderr)
        sys.excepthook = _report_bug


class JsonLines(io.TextIOBase):
    """A text stream that writes each line as ``{"time", "level", "message"}`` to another; empty lines are left out.

    ``level`` is "error" for the message that ends a command, else "info". A terminal's features are not offered, so
    that progress comes in lines.
    """

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self._begun = threading.local()  # of each thread's line: print writes a line and its end one by one

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """That of the other stream."""
        return self.out.fileno()

    def write(self, text: str) -> int:
        """Write the lines that end in the text, and keep the rest until its end comes."""
        *lines, self._begun.text = (getattr(self._begun, "text", "") + text).split("\n")
        for line in lines:
            self.send(line, "error" if line.startswith("motif: ") else "info")
        return len(text)

    def send(self, message: str, level: str) -> None:
        """Write one message, which may have several lines."""
        if message := message.rstrip():
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            line = json.dumps({"time": now, "level": level, "message": message.removeprefix("motif: ")})
            self.out.write(f"{line}\n")
            self.out.flush()

    def flush(self) -> None:
        """Lines are flushed as they are written."""


def _report_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A traceback is one message."""
    assert isinstance(sys.stderr, JsonLines)
    sys.stderr.send("".join(traceback.format_exception(kind, error, trace)), "error")
