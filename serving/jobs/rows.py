"""Rows of the job store as jobs, and statements that its methods share."""

from typing import Any

import sqlalchemy as sql
from sqlalchemy import ColumnElement, Connection

from serving.jobs.job import Job, Order
from serving.jobs.tables import jobs, server_values


def read(
    connection: Connection, which: ColumnElement[bool], order: ColumnElement[Any] | None = None, limit: int = 1
) -> list[Job]:
    """Matching jobs, in the given order."""
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
    """The number of matching jobs."""
    return connection.scalar(sql.select(sql.func.count()).select_from(jobs).where(which)) or 0


def pass_gate(connection: Connection) -> None:
    """From here on one transaction at a time: the first write takes the lock of the database or the row."""
    connection.execute(server_values.update().where(server_values.c.name == "gate").values(value=""))


def server_value(connection: Connection, name: str) -> str:
    """A value of the server as a whole; empty if unset."""
    return connection.scalar(sql.select(server_values.c.value).where(server_values.c.name == name)) or ""


def set_server_value(connection: Connection, name: str, value: str) -> None:
    """Change a value of the server as a whole."""
    connection.execute(server_values.update().where(server_values.c.name == name).values(value=value))
