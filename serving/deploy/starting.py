"""Starting Ray: with one retry if it was too slow, and a one-sentence error."""

import re
from collections.abc import Callable

from base.errors import Incomplete

# What Ray says when its processes were not up in time, for example on a busy machine.
_TOO_SLOW = re.compile(r"timed out|timeout|time out|in time|within \d+ ?s|failed to connect to GCS", re.IGNORECASE)


def start_ray(start: Callable[[], None], undo: Callable[[], None], report: Callable[[str], None]) -> None:
    """Call ``start``; if Ray was too slow, call ``undo`` and try once more. Raises Incomplete."""
    try:
        start()
    except Exception as error:  # Ray has no error type for this
        undo()
        if not _TOO_SLOW.search(str(error)):
            raise _explained(error) from error
        report("Ray did not start in time, retrying once")
        try:
            start()
        except Exception as again:
            raise _explained(again) from again


def _explained(error: Exception) -> Incomplete:
    said = str(error).strip().splitlines() or [type(error).__name__]
    return Incomplete(f"Ray did not start: {said[0]} Run `motif doctor` for details.")
