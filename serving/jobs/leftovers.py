"""Videos without a job whose files may still exist: any process of this or a later server removes them."""

from collections.abc import Collection

import sqlalchemy as sql
from sqlalchemy import Connection, Engine

from serving.jobs.tables import insert, leftovers


def leave(connection: Connection, ids: Collection[str]) -> None:
    """Record videos whose files must be removed, in the transaction that deletes their jobs."""
    if ids:
        rows = [{"id": video_id, "refused": 0} for video_id in ids]
        connection.execute(insert(connection, leftovers).on_conflict_do_nothing(), rows)


class Leftovers:
    """The videos whose files must be removed, in the job store's database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def ids(self) -> list[str]:
        """All ids; those that storage failed to remove come last."""
        with self.engine.connect() as connection:
            return list(connection.scalars(sql.select(leftovers.c.id).order_by(leftovers.c.refused, leftovers.c.id)))

    def removed(self, video_id: str) -> None:
        """The files of a video are removed."""
        with self.engine.begin() as connection:
            connection.execute(leftovers.delete().where(leftovers.c.id == video_id))

    def refused(self, video_id: str) -> int:
        """Storage failed to remove a video; returns how often so far."""
        with self.engine.begin() as connection:
            leave(connection, [video_id])
            more = leftovers.update().where(leftovers.c.id == video_id).values(refused=leftovers.c.refused + 1)
            return connection.scalar(more.returning(leftovers.c.refused)) or 0
