"""How jobs end: when, for how long they are kept afterwards, and why they failed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection

from serving.jobs.counters import count
from serving.jobs.tables import jobs

FAILED = ("generation_failed", "The video could not be made, by a fault of the server. Its log says more.")
RESTARTED = ("server_restarted", "The server was restarted while this video was being made. Ask for it again.")
EXPIRED = ("expired", "The video waited for as long as anything is kept here. Ask for it again.")
LOST = ("worker_lost", "The process that made this video ended unexpectedly. Ask for it again.")


@dataclass
class Ending:
    """Ends jobs by a clock; what has ended is kept for ``keep_s`` seconds."""

    clock: Callable[[], float]
    keep_s: float

    def times(self) -> dict[str, Any]:
        """When a job ends, and when it expires, if it ends now."""
        now = self.clock()
        return {"completed_at": now, "expires_at": now + self.keep_s}

    def fail(self, connection: Connection, which: ColumnElement[bool], why: tuple[str, str]) -> None:
        """Jobs fail now, for a reason as (code, message)."""
        end = self.times() | {"status": "failed", "error_code": why[0], "error_message": why[1]}
        failed = connection.scalars(jobs.update().where(which).values(end).returning(jobs.c.model))
        for model in list(failed):
            count(connection, "motif_videos_failed", model=model, code=why[0])
