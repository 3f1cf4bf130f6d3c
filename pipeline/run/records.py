"""Run records: the job and its outcome, one JSON file per run, so that a run can be repeated."""

import contextlib
import json
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from base.config import from_json, to_json
from base.errors import InputError, MotifError, StorageError
from base.storage.folder import Folder
from base.storage.uri import is_remote, local_path
from dataset.catalog import Catalog
from dataset.lock import FILE as LOCK

if TYPE_CHECKING:  # they import torch, which takes seconds and which reading records does not need
    from pipeline.run.accounting import Account
    from pipeline.run.job import Job


@contextlib.contextmanager
def recorded(account: "Account", job: "Job", stage_seconds: Mapping[str, float]) -> Iterator[None]:
    """Write a record when the context ends, also after an error, which takes precedence over one from writing."""
    started = time.monotonic()

    def write(error: BaseException | None) -> None:
        account.seconds, account.stage_seconds = time.monotonic() - started, dict(stage_seconds)
        write_record(account, job, error)

    try:
        yield
    except BaseException as error:
        with contextlib.suppress(StorageError, OSError):
            write(error)
        raise
    write(None)


def write_record(account: "Account", job: "Job", error: BaseException | None = None) -> None:
    """Write runs/NAME.json: the account, versions, the job with absolute paths, and the error that ended it."""
    more = {
        "recipe": to_json(job.recipe),
        "manifest": _absolute(job.manifest),
        "columns": asdict(job.columns) | {"root": job.columns.root and _absolute(job.columns.root)},
        "limit": job.limit,
        "retry": asdict(job.retry) if job.retry else None,
        "error": None if error is None else {"class": type(error).__name__, "message": _message(error)},
    }
    (job.dataset / "runs").write(f"{account.run}.json", json.dumps(account.record(more), indent=2).encode())


def _message(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return str(error) if isinstance(error, MotifError) else (str(error).splitlines() or [""])[0]


def _absolute(place: str) -> str:
    return place if is_remote(place) else str(local_path(place))


def _names(dataset: Folder) -> list[str]:
    """The files of the records, oldest first: they are named by time."""
    return [entry.name for entry in (dataset / "runs").files(".json") if entry.name != LOCK]


def read_records(dataset: Folder) -> list[dict[str, Any]]:
    """All run records, oldest first; InputError if the folder is not a dataset."""
    Catalog.require(dataset)
    return [json.loads((dataset / "runs").read(name)) for name in _names(dataset)]


def last_record(dataset: Folder) -> dict[str, Any] | None:
    """The record of the last run that has ended by itself, or None."""
    names = _names(dataset)
    return dict(json.loads((dataset / "runs").read(names[-1]))) if names else None


def command(record: Mapping[str, Any], dataset: Folder) -> str:
    """The command that runs a record's job again."""
    if record["retry"] is not None:
        given = {f"--{name}": value for name, value in record["retry"].items()}
        words = ["motif", "retry", dataset.uri]
    else:
        config = (dataset / "runs").file(f"{record['run']}.json")
        words = ["motif", "preprocess", "--config", config, "--manifest", record["manifest"], "--out", dataset.uri]
        given = {f"--columns.{name}": value for name, value in record["columns"].items()}
        given["--limit"] = record["limit"]
    for name, value in given.items():
        words += [name, str(value)] if value is not None else []
    return shlex.join(words)


def last_job(dataset: Folder) -> "Job":
    """The job of the last run, without its limit and retry."""
    from pipeline.manifest import ManifestColumns
    from pipeline.run.job import Job

    records = [record for record in read_records(dataset) if "recipe" in record]
    if not records:
        raise InputError(f"{dataset.uri} has no run record: run `motif preprocess` once.")
    record = records[-1]
    return Job(from_json(record["recipe"]), record["manifest"], dataset, ManifestColumns(**record["columns"]))
