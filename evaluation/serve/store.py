"""Raters, their tasks and their votes. What a method has returned is on the disk."""

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sql
from sqlalchemy import ColumnElement, Connection

from evaluation.serve.assign import make_plan, pick_slot, subject_of
from evaluation.serve.settings import Settings
from evaluation.serve.tables import facts, open_database, raters, tasks
from evaluation.study.study import Side, Study
from evaluation.study.votes import REASONS, Vote

Status = Literal["task", "complete", "excluded", "full"]


class Refused(Exception):  # noqa: N818 - an answer, like QueueFull of the job store
    """A rater's request cannot be granted; ``code`` is machine-readable, ``wait_s`` says when it can be."""

    def __init__(self, code: str, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.wait_s = code, message, wait_s


@dataclass(frozen=True)
class Rater:
    """Somebody who judges videos. Times are seconds since 1970."""

    number: int
    name: str
    token: str
    code: str
    ids: dict[str, str]
    plan: tuple[str, ...]
    """The gold question at each step, or "" for a pair."""
    begun_at: float
    completed_at: float | None
    excluded: str
    """Why the rater is excluded, or ""."""


@dataclass(frozen=True)
class Task:
    """A slot or gold question that a rater has to answer; ``elapsed`` seconds ago they saw it first."""

    id: str
    slot: str
    elapsed: float


@dataclass(frozen=True)
class Session:
    """Where a rater is. ``task`` is there if the status is "task"; "full" means that no task is left to begin with."""

    status: Status
    done: int
    total: int
    code: str
    task: Task | None = None


@dataclass(frozen=True)
class Ballot:
    """What a rater answers to a task."""

    choice: Side
    reasons: tuple[str, ...]


class VoteStore:
    """The votes of a study in a database, see :func:`evaluation.serve.tables.open_database`.

    Thread-safe, and safe for several processes on one database.
    """

    def __init__(
        self,
        url: str,
        study: Study,
        settings: Settings | None = None,
        new: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.study, self.settings, self.clock = study, settings or Settings(), clock
        self.engine = open_database(url, study, new)
        self._turn = threading.Lock()  # waiting for it is fairer than for SQLite's lock, which is asked for in vain

    @property
    def wait_s(self) -> float:
        """How long after the first sight of a task a vote is too early."""
        return max(self.study.rules.min_seconds, self.settings.lock_seconds)

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def begin(self, name: str | None = None, ids: Mapping[str, str] | None = None) -> Rater:
        """A new rater, or the one with this name, which a platform gave; without a name always a new one."""
        with self._alone() as connection:
            if name is not None and (found := _rater(connection, raters.c.name == name)):
                return found
            number = (connection.scalar(sql.select(sql.func.max(raters.c.number))) or 0) + 1
            row = {
                "number": number, "name": name or f"rater-{number:04}", "token": secrets.token_urlsafe(24),
                "code": secrets.token_hex(4).upper(), "ids": json.dumps(dict(ids or {})),
                "plan": json.dumps(make_plan(self.study, self.settings.tasks, number)), "begun_at": self.clock(),
            }  # fmt: skip
            connection.execute(raters.insert().values(row))
            return _known(connection, raters.c.number == number)

    def find(self, token: str) -> Rater:
        """The rater with a token; Refused if there is none."""
        with self.engine.connect() as connection:
            return _known(connection, raters.c.token == token)

    def next(self, token: str) -> Session:
        """The rater's open task, which stays the same until it is answered, or a new one, or the end."""
        with self._alone() as connection:
            rater = _known(connection, raters.c.token == token)
            done = _number_of(connection, _answered_by(rater))
            if rater.excluded:
                return self._session("excluded", rater, done)
            if rater.completed_at is not None:
                return self._session("complete", rater, done)
            task = self._open_task(connection, rater) or self._new_task(connection, rater, done)
            if task is None and done:
                rater = self._complete(connection, rater)
            return self._session("task" if task else "complete" if done else "full", rater, done, task)

    def vote(self, token: str, task_id: str, ballot: Ballot) -> None:
        """Store an answer; the same answer again is accepted and changes nothing. Refused says why it is not stored."""
        with self._alone() as connection:
            rater = _known(connection, raters.c.token == token)
            row = self._row(connection, (tasks.c.id == task_id) & (tasks.c.rater == rater.number))
            if row is None:
                raise Refused("unknown_task", "There is no such task of yours.")
            reasons = [reason for reason in REASONS if reason in ballot.reasons]
            if row["status"] == "answered":
                if (row["choice"], json.loads(row["reasons"])) == (ballot.choice, reasons):
                    return
                raise Refused("already_answered", "You have answered this task already. Your first answer counts.")
            if rater.excluded:
                raise Refused("excluded", "Your part in this study has ended.")
            if row["status"] == "lost":
                raise Refused("task_lost", "This task was open for too long and was given to somebody else.")
            now = self.clock()
            seconds = now - row["given_at"]
            if seconds < self.wait_s:
                wait_s = self.wait_s - seconds
                raise Refused("too_early", f"Take more time: you can answer in {wait_s:.0f} seconds.", wait_s)
            values = {
                "status": "answered", "choice": ballot.choice, "reasons": json.dumps(reasons),
                "seconds": seconds, "answered_at": now,
            }  # fmt: skip
            connection.execute(tasks.update().where(tasks.c.id == task_id).values(values))
            self._after_vote(connection, rater)

    def exclude(self, token: str, why: str) -> None:
        """Accept nothing more from a rater; an open task becomes free for others."""
        with self._alone() as connection:
            self._exclude(connection, _known(connection, raters.c.token == token), why)

    def slot_of(self, task_id: str) -> str | None:
        """The slot or gold question of a task; None if there is no such task."""
        with self.engine.connect() as connection:
            return connection.scalar(sql.select(tasks.c.slot).where(tasks.c.id == task_id))

    def raters(self) -> list[Rater]:
        """All raters, in the order in which they began."""
        with self.engine.connect() as connection:
            rows = connection.execute(sql.select(raters).order_by(raters.c.number)).mappings().all()
        return [_read(row) for row in rows]

    def votes(self) -> list[Vote]:
        """All votes, in the order in which they were given."""
        query = sql.select(tasks, raters.c.name).join(raters, raters.c.number == tasks.c.rater)
        query = query.where(tasks.c.status == "answered").order_by(tasks.c.answered_at, tasks.c.id)
        with self.engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return [
            Vote(row["slot"], row["name"], row["choice"], row["seconds"], tuple(json.loads(row["reasons"])))
            for row in rows
        ]

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        """One transaction at a time, in all processes: the first write takes the lock of the database or the row."""
        with self._turn, self.engine.begin() as connection:
            connection.execute(facts.update().where(facts.c.name == "gate").values(value=""))
            yield connection

    def _session(self, status: Status, rater: Rater, done: int, task: Task | None = None) -> Session:
        return Session(status, done, len(rater.plan), rater.code if status == "complete" else "", task)

    def _open_task(self, connection: Connection, rater: Rater) -> Task | None:
        row = self._row(connection, (tasks.c.rater == rater.number) & (tasks.c.status == "open"))
        if row is None:
            return None
        now = self.clock()
        connection.execute(tasks.update().where(tasks.c.id == row["id"]).values(leased_until=self._lease(now)))
        return Task(row["id"], row["slot"], now - row["given_at"])

    def _new_task(self, connection: Connection, rater: Rater, done: int) -> Task | None:
        if done == len(rater.plan):
            return None
        now, gold, task_id = self.clock(), rater.plan[done], secrets.token_hex(16)
        slot = gold or pick_slot(connection, self.study, rater.number, now)
        if slot is None:
            return None
        row = {
            "id": task_id, "rater": rater.number, "slot": slot, "status": "open",
            "subject": subject_of(self.study, slot), "holds": None if gold else slot,
            "given_at": now, "leased_until": self._lease(now),
        }  # fmt: skip
        connection.execute(tasks.insert().values(row))
        return Task(task_id, slot, 0.0)

    def _lease(self, now: float) -> float:
        return now + 60 * self.settings.lease_minutes

    def _after_vote(self, connection: Connection, rater: Rater) -> None:
        """Exclude a rater who can no longer answer enough gold questions as known; note that the last task is done."""
        gold = self.study.gold_questions
        query = sql.select(tasks.c.slot, tasks.c.choice).where(_answered_by(rater))
        answers = connection.execute(query).all()
        asked = sum(map(bool, rater.plan))
        wrong = sum(slot in gold and gold[slot].answer != choice for slot, choice in answers)
        if wrong and (asked - wrong) / asked < self.study.rules.min_gold:
            self._exclude(connection, rater, f"{wrong} of {asked} gold questions wrong")
        elif len(answers) == len(rater.plan):
            self._complete(connection, rater)

    def _complete(self, connection: Connection, rater: Rater) -> Rater:
        values = {"completed_at": self.clock(), "code": self.settings.completion_code or rater.code}
        connection.execute(raters.update().where(raters.c.number == rater.number).values(values))
        return _known(connection, raters.c.number == rater.number)

    def _exclude(self, connection: Connection, rater: Rater, why: str) -> None:
        values = {"excluded": why, "excluded_at": self.clock()}
        connection.execute(raters.update().where(raters.c.number == rater.number).values(values))
        left = (tasks.c.rater == rater.number) & (tasks.c.status == "open")
        connection.execute(tasks.update().where(left).values(status="lost", holds=None))

    def _row(self, connection: Connection, which: ColumnElement[bool]) -> Any:
        return connection.execute(sql.select(tasks).where(which)).mappings().one_or_none()


def _answered_by(rater: Rater) -> ColumnElement[bool]:
    return (tasks.c.rater == rater.number) & (tasks.c.status == "answered")


def _number_of(connection: Connection, which: ColumnElement[bool]) -> int:
    return connection.scalar(sql.select(sql.func.count()).select_from(tasks).where(which)) or 0


def _rater(connection: Connection, which: ColumnElement[bool]) -> Rater | None:
    row = connection.execute(sql.select(raters).where(which)).mappings().one_or_none()
    return None if row is None else _read(row)


def _known(connection: Connection, which: ColumnElement[bool]) -> Rater:
    found = _rater(connection, which)
    if found is None:
        raise Refused("unknown_rater", "This session is not known here. Open the study by its link again.")
    return found


def _read(row: Any) -> Rater:
    return Rater(
        number=row["number"],
        name=row["name"],
        token=row["token"],
        code=row["code"],
        ids=json.loads(row["ids"]),
        plan=tuple(json.loads(row["plan"])),
        begun_at=row["begun_at"],
        completed_at=row["completed_at"],
        excluded=row["excluded"] or "",
    )
