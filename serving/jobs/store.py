"""The job store: what waits, what runs, what is done. It outlives the server, and several processes share it.

A job is claimed by a worker that says every few seconds that it lives. What a worker held that does not is failed, so
nothing waits for ever. Jobs are numbered in the order of arrival.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql
from sqlalchemy import ColumnElement, Connection

from serving.jobs.counters import count, observe
from serving.jobs.job import Job, NewJob, Stage
from serving.jobs.leftovers import leave
from serving.jobs.rows import fact, number_of, pass_gate, read, set_fact
from serving.jobs.tables import jobs, open_database, workers

ALIVE_S = 15.0  # a worker that has not been heard of for so long is lost
FAILED = ("generation_failed", "The video could not be made, by a fault of the server. Its log says more.")
_RESTARTED = ("server_restarted", "The server was restarted while this video was being made. Ask for it again.")
_EXPIRED = ("expired", "The video waited for as long as anything is kept here. Ask for it again.")
_LOST = ("worker_lost", "The process that made this video ended unexpectedly. Ask for it again.")


class QueueFull(Exception):  # noqa: N818 - a fact, like StopIteration
    """No more jobs may wait; ``length`` do."""

    def __init__(self, length: int) -> None:
        super().__init__(f"{length} jobs wait")
        self.length = length


@dataclass(frozen=True)
class State:
    """Jobs that wait and run, workers that live, and how long the oldest waiting job has waited."""

    queued: int
    in_progress: int
    workers: int
    oldest_s: float


class JobStore:
    """Jobs in a database; :func:`serving.jobs.tables.open_database` knows its URL. Safe to use from several threads."""

    def __init__(self, url: str, keep_s: float = 86400.0, clock: Callable[[], float] = time.time) -> None:
        self.engine = open_database(url)
        self.keep_s, self.clock = keep_s, clock

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    # What the API does.

    def add(self, new: NewJob, limit: int) -> tuple[Job, bool]:
        """Queue a job, or find the one that was made with its idempotency key; True where it is new.

        QueueFull where ``limit`` jobs wait.
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
        """A job of this owner."""
        found = self._find((jobs.c.id == video_id) & (jobs.c.owner == owner))
        return found[0] if found else None

    def by_key(self, owner: str, key: str) -> tuple[Job, str] | None:
        """The job that an owner made with an idempotency key, and the fingerprint of its request."""
        same = (jobs.c.owner == owner) & (jobs.c.idempotency_key == key)
        with self.engine.connect() as connection:
            found = read(connection, same)
            fingerprint = connection.scalar(sql.select(jobs.c.fingerprint).where(same))
        return (found[0], str(fingerprint)) if found else None

    def page(self, owner: str, after: str | None, limit: int, newest_first: bool) -> tuple[list[Job], bool] | None:
        """Jobs of an owner after one of them, and whether there are more; None where ``after`` is none of them."""
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
        """Forget a job; its files become remains. The worker that runs it learns so at its next step."""
        with self.engine.begin() as connection:
            pass_gate(connection)
            found = read(connection, (jobs.c.id == video_id) & (jobs.c.owner == owner))
            if not found:
                return None
            connection.execute(jobs.delete().where(jobs.c.id == video_id))
            leave(connection, [video_id])
            count(connection, "motif_videos_deleted", model=found[0].order.model)
        return found[0]

    # What workers do.

    def claim(
        self,
        worker: str,
        limit: int,
        loaded: Collection[str] = (),
        patience_s: float = 30.0,
        served: Collection[str] | None = None,
    ) -> list[Job]:
        """Take up to ``limit`` waiting jobs of one shape; the worker is to be alive and at no other job.

        Oldest first, but of models that are loaded here before others, unless another has waited for ``patience_s``;
        only of models that are ``served``, where that is said. What the worker still holds is failed: it has no other
        batch, so an end that it reported, or an earlier claim, did not get through.
        """
        now = self.clock()
        with self.engine.begin() as connection:
            pass_gate(connection)
            self._fail(connection, _held(worker), FAILED)
            if fact(connection, "draining"):
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
            mine["run"] = fact(connection, "run")
            connection.execute(jobs.update().where(jobs.c.id.in_([job.id for job in taken])).values(mine))
            for job in taken:
                observe(connection, "motif_wait_seconds", now - job.created_at, model=job.order.model)
            observe(connection, "motif_batch_size", len(taken), model=taken[0].order.model)
        return taken

    def advance(self, worker: str, ids: Sequence[str], stage: Stage, progress: int) -> set[str]:
        """Note how far jobs are; returns those that are still wanted."""
        with self.engine.begin() as connection:
            mine = jobs.c.id.in_(ids) & _held(worker)
            changed = jobs.update().where(mine).values(stage=stage, progress=progress).returning(jobs.c.id)
            return set(connection.scalars(changed))

    def complete(self, worker: str, job: Job, seconds: float) -> bool:
        """A job's files are written; False where it is no longer wanted, and they are remains."""
        end = self._ended() | {"status": "completed", "stage": "done", "progress": 100, "inference_time_s": seconds}
        with self.engine.begin() as connection:
            mine = (jobs.c.id == job.id) & _held(worker)
            if not connection.execute(jobs.update().where(mine).values(end)).rowcount:
                leave(connection, [] if number_of(connection, jobs.c.id == job.id) else [job.id])
                return False
            count(connection, "motif_videos_completed", model=job.order.model)
            observe(connection, "motif_inference_seconds", seconds, model=job.order.model)
        return True

    def fail(self, worker: str, ids: Sequence[str], code: str, message: str) -> None:
        """Jobs of a worker came to nothing."""
        with self.engine.begin() as connection:
            self._fail(connection, jobs.c.id.in_(ids) & _held(worker), (code, message))

    def fail_held(self, worker: str) -> None:
        """A worker is at nothing: whatever it still holds came to nothing."""
        with self.engine.begin() as connection:
            self._fail(connection, _held(worker), FAILED)

    def beat(self, worker: str) -> None:
        """A worker lives."""
        with self.engine.begin() as connection:
            alive = {"alive_until": self.clock() + ALIVE_S}
            if not connection.execute(workers.update().where(workers.c.id == worker).values(alive)).rowcount:
                connection.execute(workers.insert().values(id=worker, **alive))

    def leave(self, worker: str) -> None:
        """A worker ends; what it still held is failed by the next sweep."""
        with self.engine.begin() as connection:
            connection.execute(workers.delete().where(workers.c.id == worker))

    # What the server as a whole does.

    def start_run(self, run: str, alone: bool) -> bool:
        """The server starts; True where one has started on this store before.

        ``alone``: no worker of an earlier run can be alive, so what they held is failed.
        """
        with self.engine.begin() as connection:
            before = bool(fact(connection, "run"))
            set_fact(connection, "run", run)
            set_fact(connection, "draining", "")
            if alone:
                connection.execute(workers.delete())
        self.sweep()
        return before

    def fail_unserved(self, served: Collection[str]) -> None:
        """Fail what waits for a model that the only server of this store does not serve any more."""
        with self.engine.begin() as connection:
            pass_gate(connection)
            left = (jobs.c.status == "queued") & jobs.c.model.not_in(list(served))
            for name in list(connection.scalars(sql.select(jobs.c.model).where(left).distinct())):
                message = f"This server does not serve {name} any more: ask for a model that it has."
                self._fail(connection, left & (jobs.c.model == name), ("model_not_found", message))

    def drain(self) -> None:
        """From now on no job is accepted or claimed; those that wait do so until the next start."""
        with self.engine.begin() as connection:
            set_fact(connection, "draining", "yes")

    def draining(self) -> bool:
        """Whether the server is about to stop."""
        with self.engine.connect() as connection:
            return bool(fact(connection, "draining"))

    def sweep(self) -> None:
        """Fail what lost workers held and what waited too long, forget what has expired."""
        now = self.clock()
        with self.engine.begin() as connection:
            pass_gate(connection)
            run = fact(connection, "run")
            connection.execute(workers.delete().where(workers.c.alive_until < now))
            lost = (jobs.c.status == "in_progress") & jobs.c.worker.not_in(sql.select(workers.c.id))
            self._fail(connection, lost & (jobs.c.run == run), _LOST)
            self._fail(connection, lost & (jobs.c.run != run), _RESTARTED)
            waited = (jobs.c.status == "queued") & (jobs.c.created_at < now - self.keep_s)
            self._fail(connection, waited, _EXPIRED)  # of a model that nobody serves any more, perhaps
            gone = connection.scalars(jobs.delete().where(jobs.c.expires_at < now).returning(jobs.c.id))
            leave(connection, list(gone))

    def ids(self) -> set[str]:
        """The ids of all jobs."""
        with self.engine.connect() as connection:
            return set(connection.scalars(sql.select(jobs.c.id)))

    def state(self) -> State:
        """How it stands now."""
        now = self.clock()
        with self.engine.connect() as connection:
            oldest = connection.scalar(sql.select(sql.func.min(jobs.c.created_at)).where(jobs.c.status == "queued"))
            alive = sql.select(sql.func.count()).select_from(workers).where(workers.c.alive_until >= now)
            return State(
                queued=number_of(connection, jobs.c.status == "queued"),
                in_progress=number_of(connection, jobs.c.status == "in_progress"),
                workers=connection.scalar(alive) or 0,
                oldest_s=max(0.0, now - oldest) if oldest else 0.0,
            )

    def pace(self) -> float | None:
        """Seconds that each of the last finished jobs took, on average; None where there is none."""
        last = sql.select(jobs.c.inference_time_s).where(jobs.c.status == "completed")
        last = last.order_by(jobs.c.number.desc()).limit(20)
        with self.engine.connect() as connection:
            seconds = [value for value in connection.scalars(last) if value is not None]
        return sum(seconds) / len(seconds) if seconds else None

    def _ended(self) -> dict[str, Any]:
        now = self.clock()
        return {"completed_at": now, "expires_at": now + self.keep_s}

    def _fail(self, connection: Connection, which: ColumnElement[bool], why: tuple[str, str]) -> None:
        end = self._ended() | {"status": "failed", "error_code": why[0], "error_message": why[1]}
        failed = connection.scalars(jobs.update().where(which).values(end).returning(jobs.c.model))
        for model in list(failed):
            count(connection, "motif_videos_failed", model=model, code=why[0])

    def _find(self, which: ColumnElement[bool]) -> list[Job]:
        with self.engine.connect() as connection:
            return read(connection, which)


def _held(worker: str) -> ColumnElement[bool]:
    """The jobs that a worker is booked to be at."""
    return (jobs.c.worker == worker) & (jobs.c.status == "in_progress")
