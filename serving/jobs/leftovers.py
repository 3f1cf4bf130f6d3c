"""Videos whose jobs are gone and whose files may not be: any process of the server, also the next one, removes them."""

from collections.abc import Collection

import sqlalchemy as sql
from sqlalchemy import Connection, Engine

from serving.jobs.tables import insert, leftovers


def leave(connection: Connection, ids: Collection[str]) -> None:
    """Note, within the transaction that forgets their jobs, that files of these videos are to be removed."""
    if ids:
        rows = [{"id": video_id, "refused": 0} for video_id in ids]
        connection.execute(insert(connection, leftovers).on_conflict_do_nothing(), rows)


class Leftovers:
    """What is to be removed, in the database of the job store."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def ids(self) -> list[str]:
        """All of them; those that the storage refused to remove come last."""
        with self.engine.connect() as connection:
            return list(connection.scalars(sql.select(leftovers.c.id).order_by(leftovers.c.refused, leftovers.c.id)))

    def removed(self, video_id: str) -> None:
        """Nothing is left of it."""
        with self.engine.begin() as connection:
            connection.execute(leftovers.delete().where(leftovers.c.id == video_id))

    def refused(self, video_id: str) -> int:
        """The storage did not remove it; returns how often that was."""
        with self.engine.begin() as connection:
            leave(connection, [video_id])
            more = leftovers.update().where(leftovers.c.id == video_id).values(refused=leftovers.c.refused + 1)
            return connection.scalar(more.returning(leftovers.c.refused)) or 0
