"""Rows of the job store as jobs, and the few statements that all its methods share."""

from typing import Any

import sqlalchemy as sql
from sqlalchemy import ColumnElement, Connection

from serving.jobs.job import Job, Order
from serving.jobs.tables import facts, jobs


def read(
    connection: Connection, which: ColumnElement[bool], order: ColumnElement[Any] | None = None, limit: int = 1
) -> list[Job]:
    """Jobs, in the order asked for."""
    rows = connection.execute(sql.select(jobs).where(which).order_by(order).limit(limit)).mappings().all()
    return [_job(connection, row) for row in rows]


def _job(connection: Connection, row: Any) -> Job:
    waiting = row["status"] == "queued"
    ahead = (jobs.c.status == "queued") & (jobs.c.number < row["number"])
    return Job(
        id=row["id"],
        owner=row["owner"],
        order=Order.of(row["request"]),
        status=row["status"],
        stage=row["stage"],
        progress=row["progress"],
        created_at=row["created_at"],
        completed_at=row["completed_at"],
        expires_at=row["expires_at"],
        inference_time_s=row["inference_time_s"],
        error=(row["error_code"], row["error_message"]) if row["error_code"] else None,
        remixed_from=row["remixed_from"],
        queue_position=number_of(connection, ahead) if waiting else None,
    )


def number_of(connection: Connection, which: ColumnElement[bool]) -> int:
    """How many jobs there are."""
    return connection.scalar(sql.select(sql.func.count()).select_from(jobs).where(which)) or 0


def pass_gate(connection: Connection) -> None:
    """One transaction at a time from here on: the first write takes the database's lock, or the row's."""
    connection.execute(facts.update().where(facts.c.name == "gate").values(value=""))


def fact(connection: Connection, name: str) -> str:
    """A fact of the server as a whole; empty where it is not so."""
    return connection.scalar(sql.select(facts.c.value).where(facts.c.name == name)) or ""


def set_fact(connection: Connection, name: str, value: str) -> None:
    """Change a fact."""
    connection.execute(facts.update().where(facts.c.name == name).values(value=value))
