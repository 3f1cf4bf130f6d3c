"""How jobs end: their end and expiry times, and the reasons of failures."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection

from serving.jobs.counters import count
from serving.jobs.tables import jobs

FAILED = ("generation_failed", "The video could not be generated because of a server error. See its log for details.")
RESTARTED = ("server_restarted", "The server was restarted while this video was being generated. Request it again.")
EXPIRED = ("expired", "The job waited in the queue until it expired. Request it again.")
LOST = ("worker_lost", "The process that generated this video ended unexpectedly. Request it again.")


@dataclass
class Ending:
    """Ends jobs; ended jobs are kept for ``keep_s`` seconds by ``clock``."""

    clock: Callable[[], float]
    keep_s: float

    def times(self) -> dict[str, Any]:
        """End and expiry times of a job that ends now."""
        now = self.clock()
        return {"completed_at": now, "expires_at": now + self.keep_s}

    def fail(self, connection: Connection, which: ColumnElement[bool], why: tuple[str, str]) -> None:
        """Fail jobs now, with a reason as (code, message)."""
        end = self.times() | {"status": "failed", "error_code": why[0], "error_message": why[1]}
        failed = connection.scalars(jobs.update().where(which).values(end).returning(jobs.c.model))
        for model in list(failed):
            count(connection, "motif_videos_failed", model=model, code=why[0])
