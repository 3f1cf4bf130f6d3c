"""Run records: the job and its outcome, one JSON file per run, so that a run can be repeated."""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from base.config import from_json, to_json
from base.errors import InputError, StorageError
from base.storage.folder import Folder
from base.storage.uri import is_remote, local_path
from dataset.catalog import Catalog
from dataset.lock import FILE as LOCK
from pipeline.manifest import ManifestColumns
from pipeline.run.accounting import Account
from pipeline.run.job import Job


@contextlib.contextmanager
def recorded(account: Account, job: Job, stage_seconds: Mapping[str, float]) -> Iterator[None]:
    """Write a record when the context ends, also after an error, which takes precedence over one from writing."""
    started = time.monotonic()

    def write() -> None:
        account.seconds, account.stage_seconds = time.monotonic() - started, dict(stage_seconds)
        write_record(account, job)

    try:
        yield
    except BaseException:
        with contextlib.suppress(StorageError, OSError):
            write()
        raise
    write()


def write_record(account: Account, job: Job) -> None:
    """Write runs/NAME.json: the account, versions and the job, with absolute paths."""
    asked = {
        "recipe": to_json(job.recipe),
        "manifest": _absolute(job.manifest),
        "columns": asdict(job.columns) | {"root": job.columns.root and _absolute(job.columns.root)},
        "limit": job.limit,
        "retry": asdict(job.retry) if job.retry else None,
    }
    (job.dataset / "runs").write(f"{account.run}.json", json.dumps(account.record(asked), indent=2).encode())


def _absolute(place: str) -> str:
    return place if is_remote(place) else str(local_path(place))


def read_records(dataset: Folder) -> list[dict[str, Any]]:
    """All run records, oldest first; InputError if the folder is not a dataset."""
    Catalog.require(dataset)
    runs = dataset / "runs"
    return [json.loads(runs.read(entry.name)) for entry in runs.files(".json") if entry.name != LOCK]


def last_job(dataset: Folder) -> Job:
    """The job of the last run, without its limit and retry."""
    records = [record for record in read_records(dataset) if "recipe" in record]
    if not records:
        raise InputError(f"{dataset.uri} has no run record: run `motif preprocess` once.")
    record = records[-1]
    return Job(from_json(record["recipe"]), record["manifest"], dataset, ManifestColumns(**record["columns"]))
