"""What workers do with the jobs of a store: claim a batch, report on it, and send heartbeats."""

from collections.abc import Collection, Sequence

import sqlalchemy as sql
from sqlalchemy import ColumnElement, Engine

from serving.jobs.counters import count, observe
from serving.jobs.ending import FAILED, Ending
from serving.jobs.job import Job
from serving.jobs.leftovers import leave
from serving.jobs.rows import number_of, pass_gate, read, server_value
from serving.jobs.tables import jobs, workers
from serving.video_api import Stage

ALIVE_S = 15.0  # a worker without a heartbeat for so long is lost


class JobQueue:
    """The part of a job store that workers use."""

    def __init__(self, engine: Engine, ending: Ending) -> None:
        self.engine, self.ending = engine, ending

    def claim(
        self,
        worker: str,
        limit: int,
        loaded: Collection[str] = (),
        patience_s: float = 30.0,
        served: Collection[str] | None = None,
    ) -> list[Job]:
        """Take up to ``limit`` waiting jobs of one shape; the worker must be alive and have no other job.

        Oldest first, but jobs of ``loaded`` models go before others that have waited less than ``patience_s``; only
        models in ``served``, if given. Jobs that the worker still holds are failed: it has no other batch, so a report
        or an earlier claim of it was lost.
        """
        now = self.ending.clock()
        with self.engine.begin() as connection:
            pass_gate(connection)
            self.ending.fail(connection, _held(worker), FAILED)
            if server_value(connection, "draining"):
                return []
            waiting = jobs.c.status == "queued"
            if served is not None:
                waiting &= jobs.c.model.in_(list(served))
            at_hand = jobs.c.model.in_(list(loaded)) | (jobs.c.created_at <= now - patience_s)
            ranked = sql.select(jobs.c.shape).where(waiting).order_by(sql.case((at_hand, 0), else_=1), jobs.c.number)
            shape = connection.scalar(ranked.limit(1))
            if shape is None:
                return []
            taken = read(connection, waiting & (jobs.c.shape == shape), jobs.c.number.asc(), limit)
            mine = {"status": "in_progress", "stage": "encoding", "worker": worker}
            mine["run"] = server_value(connection, "run")
            connection.execute(jobs.update().where(jobs.c.id.in_([job.id for job in taken])).values(mine))
            for job in taken:
                observe(connection, "motif_wait_seconds", now - job.created_at, model=job.order.model)
            observe(connection, "motif_batch_size", len(taken), model=taken[0].order.model)
        return taken

    def advance(self, worker: str, ids: Sequence[str], stage: Stage, progress: int) -> set[str]:
        """Record the progress of jobs; returns the ids of those that were not deleted."""
        with self.engine.begin() as connection:
            mine = jobs.c.id.in_(ids) & _held(worker)
            changed = jobs.update().where(mine).values(stage=stage, progress=progress).returning(jobs.c.id)
            return set(connection.scalars(changed))

    def complete(self, worker: str, job: Job, seconds: float) -> bool:
        """Complete a job whose files are written; False if it was deleted, and its files are left over."""
        done = {"status": "completed", "stage": "done", "progress": 100, "inference_time_s": seconds}
        with self.engine.begin() as connection:
            mine = (jobs.c.id == job.id) & _held(worker)
            if not connection.execute(jobs.update().where(mine).values(self.ending.times() | done)).rowcount:
                leave(connection, [] if number_of(connection, jobs.c.id == job.id) else [job.id])
                return False
            count(connection, "motif_videos_completed", model=job.order.model)
            observe(connection, "motif_inference_seconds", seconds, model=job.order.model)
        return True

    def fail(self, worker: str, ids: Sequence[str], code: str, message: str) -> None:
        """Fail jobs of a worker."""
        with self.engine.begin() as connection:
            self.ending.fail(connection, jobs.c.id.in_(ids) & _held(worker), (code, message))

    def fail_held(self, worker: str) -> None:
        """Fail all jobs that a worker still holds while it runs none."""
        with self.engine.begin() as connection:
            self.ending.fail(connection, _held(worker), FAILED)

    def beat(self, worker: str) -> None:
        """Record a worker's heartbeat."""
        with self.engine.begin() as connection:
            alive = {"alive_until": self.ending.clock() + ALIVE_S}
            if not connection.execute(workers.update().where(workers.c.id == worker).values(alive)).rowcount:
                connection.execute(workers.insert().values(id=worker, **alive))

    def leave(self, worker: str) -> None:
        """Remove a worker; jobs that it still holds are failed by the next sweep."""
        with self.engine.begin() as connection:
            connection.execute(workers.delete().where(workers.c.id == worker))


def _held(worker: str) -> ColumnElement[bool]:
    """The jobs assigned to a worker."""
    return (jobs.c.worker == worker) & (jobs.c.status == "in_progress")
