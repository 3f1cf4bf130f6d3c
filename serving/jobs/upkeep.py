"""Job store operations of the server as a whole: start, drain, fail lost jobs, delete expired ones."""

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sql
from sqlalchemy import Engine

from serving.jobs.ending import EXPIRED, LOST, RESTARTED, Ending
from serving.jobs.leftovers import leave
from serving.jobs.rows import number_of, pass_gate, server_value, set_server_value
from serving.jobs.tables import jobs, workers


@dataclass(frozen=True)
class State:
    """Numbers of queued and running jobs and live workers, and the wait of the oldest queued job in seconds."""

    queued: int
    in_progress: int
    workers: int
    oldest_s: float


class Upkeep:
    """The part of a job store that the server as a whole uses."""

    def __init__(self, engine: Engine, ending: Ending) -> None:
        self.engine, self.ending = engine, ending

    def start_run(self, run: str, alone: bool) -> bool:
        """Record a server start; True if a server has started on this store before.

        ``alone``: no worker of an earlier run can be alive, so their jobs are failed.
        """
        with self.engine.begin() as connection:
            before = bool(server_value(connection, "run"))
            set_server_value(connection, "run", run)
            set_server_value(connection, "draining", "")
            if alone:
                connection.execute(workers.delete())
        self.sweep()
        return before

    def fail_unserved(self, served: Collection[str]) -> None:
        """Fail queued jobs of models that the only server of this store no longer serves."""
        with self.engine.begin() as connection:
            pass_gate(connection)
            left = (jobs.c.status == "queued") & jobs.c.model.not_in(list(served))
            for name in list(connection.scalars(sql.select(jobs.c.model).where(left).distinct())):
                message = f"This server no longer serves {name}: request another model."
                self.ending.fail(connection, left & (jobs.c.model == name), ("model_not_found", message))

    def drain(self) -> None:
        """Accept and claim no more jobs; queued ones wait until the next start."""
        with self.engine.begin() as connection:
            set_server_value(connection, "draining", "yes")

    def draining(self) -> bool:
        """Whether the server is about to stop."""
        with self.engine.connect() as connection:
            return bool(server_value(connection, "draining"))

    def sweep(self) -> None:
        """Fail jobs of lost workers and jobs that waited too long; delete expired jobs."""
        now = self.ending.clock()
        with self.engine.begin() as connection:
            pass_gate(connection)
            run = server_value(connection, "run")
            connection.execute(workers.delete().where(workers.c.alive_until < now))
            lost = (jobs.c.status == "in_progress") & jobs.c.worker.not_in(sql.select(workers.c.id))
            self.ending.fail(connection, lost & (jobs.c.run == run), LOST)
            self.ending.fail(connection, lost & (jobs.c.run != run), RESTARTED)
            waited = (jobs.c.status == "queued") & (jobs.c.created_at < now - self.ending.keep_s)
            self.ending.fail(connection, waited, EXPIRED)  # for example of a model that is no longer served
            gone = connection.scalars(jobs.delete().where(jobs.c.expires_at < now).returning(jobs.c.id))
            leave(connection, list(gone))

    def ids(self) -> set[str]:
        """The ids of all jobs."""
        with self.engine.connect() as connection:
            return set(connection.scalars(sql.select(jobs.c.id)))

    def state(self) -> State:
        """The current state."""
        now = self.ending.clock()
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
        """Average seconds of the last completed jobs; None without any."""
        last = sql.select(jobs.c.inference_time_s).where(jobs.c.status == "completed")
        last = last.order_by(jobs.c.number.desc()).limit(20)
        with self.engine.connect() as connection:
            seconds = [value for value in connection.scalars(last) if value is not None]
        return sum(seconds) / len(seconds) if seconds else None
