"""The tables of the job store, and the database behind them."""

from typing import Any

import sqlalchemy as sql
from sqlalchemy import Column, Connection, Float, Integer, String, Table, Text
from sqlalchemy.dialects import postgresql, sqlite

from base.errors import InputError, StorageError
from base.storage.uri import without_password

metadata = sql.MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),  # the order of arrival
    Column("id", String(64), unique=True, nullable=False),
    Column("owner", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("progress", Integer, nullable=False, default=0),
    Column("model", Text, nullable=False),
    Column("shape", Text, nullable=False),  # equal shapes can be sampled together
    Column("request", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("completed_at", Float),
    Column("expires_at", Float),
    Column("inference_time_s", Float),
    Column("error_code", String(64)),
    Column("error_message", Text),
    Column("remixed_from", String(64)),
    Column("idempotency_key", String(256)),
    Column("fingerprint", String(64), nullable=False),
    Column("worker", String(64)),
    Column("run", String(64)),
    sql.UniqueConstraint("owner", "idempotency_key"),
    sql.Index("jobs_by_status", "status", "number"),
    sqlite_autoincrement=True,  # numbers of deleted jobs are not reused
)
workers = Table(
    "workers", metadata, Column("id", String(64), primary_key=True), Column("alive_until", Float, nullable=False)
)
# A transaction that counts before it writes first updates the row `gate`, so that two of them cannot overlap.
server_values = Table(
    "facts", metadata, Column("name", String(64), primary_key=True), Column("value", Text, nullable=False)
)
leftovers = Table(
    "remains", metadata, Column("id", String(64), primary_key=True), Column("refused", Integer, nullable=False)
)
counters = Table(
    "counters",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("labels", String(512), primary_key=True),
    Column("value", Float, nullable=False),
)


_MEND = "Restore a backup, or move its files away: the server then starts without jobs, and video files stay."


def open_database(url: str) -> sql.Engine:
    """Connect, and create missing tables. InputError for an invalid URL, StorageError if it cannot be opened."""
    try:
        engine = sql.create_engine(url, pool_pre_ping=not url.startswith("sqlite"), hide_parameters=True)
    except (sql.exc.ArgumentError, ModuleNotFoundError) as error:
        raise InputError(
            f"database '{without_password(url)}': {error}. Give an SQLAlchemy URL and install its driver."
        ) from None
    if engine.dialect.name == "sqlite":
        sql.event.listen(engine, "connect", _share_between_processes)
    try:
        metadata.create_all(engine)
        with engine.begin() as connection:
            for name in ("gate", "run", "draining"):
                if connection.scalar(sql.select(server_values.c.value).where(server_values.c.name == name)) is None:
                    connection.execute(server_values.insert().values(name=name, value=""))
    except (sql.exc.OperationalError, sql.exc.DatabaseError) as error:
        damaged = f" {_MEND}" if type(error) is sql.exc.DatabaseError else ""
        raise StorageError(f"database '{without_password(url)}' cannot be opened: {error.orig}.{damaged}") from error
    return engine


def is_unavailable(error: sql.exc.SQLAlchemyError) -> bool:
    """Whether the database is unavailable (locked, full, damaged or gone), as opposed to a wrong statement."""
    if isinstance(error, sql.exc.TimeoutError | sql.exc.OperationalError | sql.exc.InterfaceError):
        return True
    return type(error) is sql.exc.DatabaseError  # SQLite's error for a damaged file


def check_database(url: str) -> None:
    """StorageError if an SQLite file is damaged; other databases are not checked."""
    engine = open_database(url)
    try:
        if engine.dialect.name != "sqlite":
            return
        with engine.connect() as connection:
            found = list(connection.scalars(sql.text("PRAGMA integrity_check(1)")))
    except sql.exc.DatabaseError as error:
        found = [str(error.orig)]
    finally:
        engine.dispose()
    if found != ["ok"]:
        raise StorageError(f"database '{without_password(url)}' is damaged ({found[0].splitlines()[-1]}). {_MEND}")


def insert(connection: Connection, table: Table) -> "postgresql.Insert | sqlite.Insert":
    """An INSERT with ON CONFLICT, which SQLAlchemy only offers per dialect."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def _share_between_processes(connection: Any, _: Any) -> None:
    """Readers do not wait for the writer, writers wait for each other; a power cut may lose the last updates."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
