"""The tables of raters, tasks and votes, and the database behind them."""

import hashlib
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy import Column, Float, ForeignKey, Integer, String, Table, Text

from base.errors import InputError, StorageError
from base.storage.uri import without_password
from evaluation.study.study import Study

FORMAT = "1"
metadata = sql.MetaData()

# Format and study, and the row `gate`: a transaction first updates it, so that no two of them overlap.
facts = Table(
    "study_facts", metadata, Column("name", String(64), primary_key=True), Column("value", Text, nullable=False)
)
raters = Table(
    "study_raters",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String(64), unique=True, nullable=False),  # in the votes: a platform's id, or rater-0001
    Column("token", String(64), unique=True, nullable=False),  # by which the rater's browser is known
    Column("code", String(64), nullable=False),  # shown at the end
    Column("ids", Text, nullable=False),  # what a platform said about the rater, as JSON
    Column("plan", Text, nullable=False),  # the gold question at each step, or "" for a pair, as JSON
    Column("begun_at", Float, nullable=False),
    Column("completed_at", Float),
    Column("excluded_at", Float),
    Column("excluded", Text),  # why
)
tasks = Table(
    "study_tasks",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("rater", Integer, ForeignKey("study_raters.number"), nullable=False),
    Column("slot", String(32), nullable=False),
    Column("subject", String(32), nullable=False),  # the pair or the gold question
    Column("status", String(16), nullable=False),  # open, answered, or lost to another rater
    # The slot as long as it is this rater's; null for gold questions, which all raters get.
    Column("holds", String(32), unique=True),
    Column("given_at", Float, nullable=False),
    Column("leased_until", Float, nullable=False),
    Column("answered_at", Float),
    Column("choice", String(8)),
    Column("reasons", Text),
    Column("seconds", Float),
    sql.UniqueConstraint("rater", "subject"),  # nobody sees a pair twice
)


def fingerprint(study: Study) -> str:
    """Tells studies apart; 64 hexadecimal digits."""
    return hashlib.sha256(study.to_json()).hexdigest()


def open_database(url: str, study: Study, new: bool) -> sql.Engine:
    """Connect, and create what is missing if ``new``.

    InputError for an invalid URL, and for a database of another version, of another study, or (without ``new``) of
    none; StorageError if it cannot be opened.
    """
    shown = without_password(url)
    try:
        engine = sql.create_engine(url, pool_pre_ping=not url.startswith("sqlite"), hide_parameters=True)
    except (sql.exc.ArgumentError, ModuleNotFoundError) as error:
        raise InputError(f"--database {shown}: {error}. Give a file, or an SQLAlchemy URL and its driver.") from None
    try:
        _prepare(engine, study, new, shown)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _prepare(engine: sql.Engine, study: Study, new: bool, shown: str) -> None:
    if engine.dialect.name == "sqlite":
        sql.event.listen(engine, "connect", _share_between_processes)
        if not new and not Path(engine.url.database or "").is_file():
            raise InputError(f"--database {shown}: there is no such file. `motif study serve` collects votes.")
    try:
        found = _read_facts(engine)
        if "format" not in found:
            if not new:
                raise InputError(f"--database {shown} has no votes of a study. `motif study serve` collects them.")
            _create(engine, study)
            found = _read_facts(engine)
    except sql.exc.DatabaseError as error:
        raise StorageError(f"--database {shown} cannot be opened: {error.orig}.") from error
    _check(found, study, shown)


def _read_facts(engine: sql.Engine) -> dict[str, str]:
    if not sql.inspect(engine).has_table(facts.name):
        return {}
    with engine.connect() as connection:
        return {name: value for name, value in connection.execute(sql.select(facts.c.name, facts.c.value))}


def _create(engine: sql.Engine, study: Study) -> None:
    metadata.create_all(engine)
    rows = {"gate": "", "study": fingerprint(study), "format": FORMAT}
    with engine.begin() as connection:
        for name, value in rows.items():
            connection.execute(facts.delete().where(facts.c.name == name))
            connection.execute(facts.insert().values(name=name, value=value))


def _check(found: dict[str, str], study: Study, shown: str) -> None:
    if found["format"] != FORMAT:
        raise InputError(
            f"--database {shown} has votes in format {found['format']}, and this version of motif uses {FORMAT}. Use "
            "the version that made it, or give another database."
        )
    if found["study"] != fingerprint(study):
        raise InputError(f"--database {shown} has the votes of another study. Give each study a database of its own.")


def _share_between_processes(connection: Any, _: Any) -> None:
    """Readers do not wait for the writer, and what is committed is on the disk: votes outlive a power cut."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
