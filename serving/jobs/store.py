"""The job store: queued, running and finished jobs. It outlives the server and is shared by its processes.

Workers claim jobs and send a heartbeat every few seconds. Jobs of a worker without heartbeat are failed, so none hangs
forever. Jobs are numbered in the order of arrival.
"""

import time
from collections.abc import Callable

import sqlalchemy as sql
from sqlalchemy import ColumnElement

from serving.jobs.counters import count
from serving.jobs.ending import Ending
from serving.jobs.job import Job, NewJob
from serving.jobs.leftovers import leave
from serving.jobs.queue import JobQueue
from serving.jobs.rows import number_of, pass_gate, read
from serving.jobs.tables import jobs, open_database
from serving.jobs.upkeep import Upkeep


class QueueFull(Exception):  # noqa: N818 - not an error, like StopIteration
    """The queue is full: ``length`` jobs wait."""

    def __init__(self, length: int) -> None:
        super().__init__(f"{length} jobs wait")
        self.length = length


class JobStore:
    """Jobs in a database, see :func:`serving.jobs.tables.open_database` for its URL. Thread-safe.

    The API's operations are here, those of workers in ``queue``, those of the server as a whole in ``upkeep``.
    """

    def __init__(self, url: str, keep_s: float = 86400.0, clock: Callable[[], float] = time.time) -> None:
        self.engine = open_database(url)
        self.clock = clock
        self.ending = Ending(clock, keep_s)
        self.queue = JobQueue(self.engine, self.ending)
        self.upkeep = Upkeep(self.engine, self.ending)

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def add(self, new: NewJob, limit: int) -> tuple[Job, bool]:
        """Queue a job, or find the one with the same idempotency key; the flag is True for a new job.

        Raises QueueFull if ``limit`` jobs wait.
        """
        with self.engine.begin() as connection:
            pass_gate(connection)
            if new.idempotency_key is not None:
                same = (jobs.c.owner == new.owner) & (jobs.c.idempotency_key == new.idempotency_key)
                if found := read(connection, same):
                    return found[0], False
            waiting = number_of(connection, jobs.c.status == "queued")
            if waiting >= limit:
                count(connection, "motif_requests_refused", code="queue_full")
                full = QueueFull(waiting)
            else:
                full = None
                row = {
                    "id": new.id, "owner": new.owner, "status": "queued", "stage": "queued", "progress": 0,
                    "model": new.order.model, "shape": new.order.shape(), "request": new.order.to_json(),
                    "created_at": self.clock(), "remixed_from": new.remixed_from,
                    "idempotency_key": new.idempotency_key, "fingerprint": new.fingerprint,
                }  # fmt: skip
                connection.execute(jobs.insert().values(row))
                count(connection, "motif_videos_created", model=new.order.model)
        if full:
            raise full
        return self._find(jobs.c.id == new.id)[0], True

    def get(self, owner: str, video_id: str) -> Job | None:
        """A job of this owner, or None."""
        found = self._find((jobs.c.id == video_id) & (jobs.c.owner == owner))
        return found[0] if found else None

    def by_key(self, owner: str, key: str) -> tuple[Job, str] | None:
        """The job that an owner created with an idempotency key, and the fingerprint of its request."""
        same = (jobs.c.owner == owner) & (jobs.c.idempotency_key == key)
        with self.engine.connect() as connection:
            found = read(connection, same)
            fingerprint = connection.scalar(sql.select(jobs.c.fingerprint).where(same))
        return (found[0], str(fingerprint)) if found else None

    def page(self, owner: str, after: str | None, limit: int, newest_first: bool) -> tuple[list[Job], bool] | None:
        """Jobs of an owner after the job ``after``, and whether there are more; None if ``after`` is unknown."""
        chosen = jobs.c.owner == owner
        with self.engine.connect() as connection:
            if after is not None:
                number = connection.scalar(sql.select(jobs.c.number).where(chosen & (jobs.c.id == after)))
                if number is None:
                    return None
                chosen &= jobs.c.number < number if newest_first else jobs.c.number > number
            order = jobs.c.number.desc() if newest_first else jobs.c.number.asc()
            found = read(connection, chosen, order, limit + 1)
        return found[:limit], len(found) > limit

    def delete(self, owner: str, video_id: str) -> Job | None:
        """Delete a job; its files become leftovers. A worker that runs it notices at its next step."""
        with self.engine.begin() as connection:
            pass_gate(connection)
            found = read(connection, (jobs.c.id == video_id) & (jobs.c.owner == owner))
            if not found:
                return None
            connection.execute(jobs.delete().where(jobs.c.id == video_id))
            leave(connection, [video_id])
            count(connection, "motif_videos_deleted", model=found[0].order.model)
        return found[0]

    def _find(self, which: ColumnElement[bool]) -> list[Job]:
        with self.engine.connect() as connection:
            return read(connection, which)
