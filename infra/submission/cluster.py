"""The jobs of a Ray cluster, through its dashboard. The only file here that imports Ray."""

import asyncio
import hashlib
import json
import logging
import platform
import shlex
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import ray
from ray.job_submission import JobStatus, JobSubmissionClient

from base.errors import Incomplete, InputError

for _name in ("dashboard.modules.job.sdk", "dashboard.modules.dashboard_sdk", "_private.runtime_env.packaging"):
    logging.getLogger(f"ray.{_name}").setLevel(logging.ERROR)  # each upload and connection is logged
_REACH_S = 5.0
_LOOK_S = 1.0
_PATIENCE_S = 15.0  # before a job that does not start is mentioned
_AGENT_S = 60.0
_LOST = 5  # connections in a row that end without a line


@dataclass(frozen=True)
class Job:
    """A job's state. ``exit_code`` is that of its command, None before it has ended; ``message`` is Ray's."""

    id: str
    status: str
    exit_code: int | None
    command: str
    message: str = ""

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return bool(JobStatus(self.status).is_terminal())


def job_name(args: Sequence[str]) -> str:
    """The name of a command line's job: the same for the same command and options."""
    return f"motif-{args[0]}-{hashlib.sha256(json.dumps(list(args)).encode()).hexdigest()[:10]}"


class Cluster:
    """A cluster by the URL of its dashboard. InputError if it cannot be used."""

    def __init__(self, address: str) -> None:
        self.address = address
        _check_reachable(address)
        try:
            self._client = JobSubmissionClient(address)
            # The SDK has no public call for this route.
            answer = self._client._do_request("GET", "/api/v0/cluster_metadata")
            answer.raise_for_status()
            found = answer.json()["data"]
        except Exception as error:  # of many types
            why = str(error).strip().splitlines() or [type(error).__name__]
            raise InputError(
                f"--address {address}: the jobs of this cluster cannot be used ({why[0][:200]}). If it asks for a "
                "token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN."
            ) from error
        _check_versions(address, found)

    def submit(self, args: Sequence[str], folder: Path) -> tuple[Job, bool]:
        """Start ``motif ARGS`` with the sources in ``folder``; returns the job, and whether it is a new one.

        The same command line has one job at a time: if it runs already, that job is returned.
        """
        name = job_name(args)
        number, earlier = 1, self.find(name)
        while earlier is not None and earlier.ended:
            number += 1
            earlier = self.find(f"{name}-{number}")
        if earlier is not None:
            return earlier, False
        job_id = name if number == 1 else f"{name}-{number}"
        self._start(job_id, f"python -m infra {shlex.join(args)}", folder)
        return self.require(job_id), True

    def _start(self, job_id: str, entrypoint: str, folder: Path) -> None:
        latest = time.monotonic() + _AGENT_S
        while True:
            try:
                self._client.submit_job(
                    entrypoint=entrypoint, submission_id=job_id, runtime_env={"working_dir": str(folder)}
                )
                return
            except RuntimeError as error:
                # The head answers before its own agent, which starts jobs, is up.
                if "No available agent" not in str(error) or time.monotonic() > latest:
                    why = str(error).strip().splitlines()[0]
                    raise Incomplete(f"--address {self.address}: the cluster did not take the job ({why}).") from error
                time.sleep(_LOOK_S)

    def find(self, job_id: str) -> Job | None:
        """A job by its id, None if there is none."""
        try:
            found = self._client.get_job_info(job_id)
        except RuntimeError as error:
            if "does not exist" in str(error):
                return None
            raise InputError(f"--address {self.address}: {str(error).splitlines()[0]}") from error
        return Job(job_id, str(found.status.value), found.driver_exit_code, found.entrypoint, found.message or "")

    def require(self, job_id: str) -> Job:
        """A job by its id; InputError if there is none."""
        job = self.find(job_id)
        if job is None:
            raise InputError(f"{job_id}: {self.address} has no job of this name. `motif submit status` lists them.")
        return job

    def jobs(self) -> list[Job]:
        """All jobs of motif, the newest first."""
        found = [one for one in self._client.list_jobs() if (one.submission_id or "").startswith("motif-")]
        found.sort(key=lambda one: one.start_time or 0, reverse=True)
        return [Job(one.submission_id, one.status.value, one.driver_exit_code, one.entrypoint) for one in found]

    def stop(self, job_id: str) -> Job:
        """Stop a job, and wait until it has ended."""
        self.require(job_id)
        self._client.stop_job(job_id)
        while not (job := self.require(job_id)).ended:
            time.sleep(_LOOK_S)
        return job

    def follow(self, job_id: str, output: Callable[[str], None], report: Callable[[str], None]) -> Job:
        """Pass on a job's output as it comes, until it has ended."""
        self._wait_for_start(job_id, report)
        seen, lost = 0, 0
        while True:
            before = seen
            try:
                seen = asyncio.run(self._tail(job_id, seen, output))
                job = self.require(job_id)
                if job.ended:
                    return job
            except (RuntimeError, OSError):
                report(f"the connection to {self.address} was lost; connecting again")
            lost = lost + 1 if seen == before else 0
            if lost > _LOST:
                raise Incomplete(f"{self.address} cannot be reached any more; {job_id} may go on without this command.")
            time.sleep(_LOOK_S)

    async def _tail(self, job_id: str, seen: int, output: Callable[[str], None]) -> int:
        """Pass on what comes after the first ``seen`` characters; returns how many there were in all."""
        came = 0
        async for text in self._client.tail_job_logs(job_id):
            fresh = text[max(0, seen - came) :]
            came += len(text)
            if fresh:
                output(fresh)
        return max(seen, came)

    def _wait_for_start(self, job_id: str, report: Callable[[str], None]) -> None:
        began, told = time.monotonic(), False
        while (job := self.require(job_id)).status == JobStatus.PENDING.value:
            if not told and time.monotonic() - began > _PATIENCE_S:
                report(f"{job_id} waits for the cluster: {job.message or 'it has not started yet'}")
                told = True
            time.sleep(_LOOK_S)


def _check_reachable(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"--address {address}: give the URL of the cluster's dashboard, such as http://HEAD:8265.")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), _REACH_S).close()
    except OSError as error:
        raise InputError(
            f"--address {address}: nothing answers there ({error}). Is the cluster up, and is this its dashboard?"
        ) from error


def _check_versions(address: str, found: dict[str, str]) -> None:
    """InputError if tasks made here could not run there."""
    theirs = {"Ray": found.get("rayVersion", ""), "Python": ".".join(found.get("pythonVersion", "").split(".")[:2])}
    ours = {"Ray": ray.__version__, "Python": ".".join(platform.python_version_tuple()[:2])}
    for name, version in theirs.items():
        if version and version != ours[name]:
            raise InputError(
                f"--address {address}: the cluster has {name} {version}, this machine {ours[name]}. Install the same "
                "version here, or start the cluster with this one."
            )
