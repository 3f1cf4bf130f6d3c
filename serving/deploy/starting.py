"""Starting Ray: once more where it was too slow, in one sentence where it does not start."""

import re
from collections.abc import Callable

from base.errors import Incomplete

# What Ray says of its own processes that were not there in time, as on a machine that is busy with something else.
_TOO_SLOW = re.compile(r"timed out|timeout|time out|in time|within \d+ ?s|failed to connect to GCS", re.IGNORECASE)


def start_ray(start: Callable[[], None], undo: Callable[[], None], report: Callable[[str], None]) -> None:
    """Call ``start``; where Ray was too slow, ``undo`` what there is of it and call it once more. Incomplete else."""
    try:
        start()
    except Exception as error:  # of no type of its own
        undo()
        if not _TOO_SLOW.search(str(error)):
            raise _explained(error) from error
        report("Ray did not start in time: trying once more")
        try:
            start()
        except Exception as again:
            raise _explained(again) from again


def _explained(error: Exception) -> Incomplete:
    said = str(error).strip().splitlines() or [type(error).__name__]
    return Incomplete(f"Ray does not start: {said[0]} `motif doctor` tells more.")
