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
from typing import TypeVar
from urllib.parse import urlsplit

import ray
from ray.job_submission import JobStatus, JobSubmissionClient

from base.errors import Incomplete, InputError
from base.storage.uri import without_password

Answer = TypeVar("Answer")

for _name in ("dashboard.modules.job.sdk", "dashboard.modules.dashboard_sdk", "_private.runtime_env.packaging"):
    logging.getLogger(f"ray.{_name}").setLevel(logging.ERROR)  # each upload and connection is logged
_REACH_S = 5.0
_AGENT_S = 60.0


@dataclass(frozen=True)
class Patience:
    """How long :meth:`Cluster.follow` waits, in seconds."""

    look: float = 1.0
    """Between two requests."""
    start: float = 15.0
    """Before it mentions that a job has not started."""
    silence: float = 300.0
    """For output, before it connects again: a connection may end without a sign, as when a laptop sleeps."""
    lost: float = 120.0
    """For a cluster that does not answer."""


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


class _Refused(Incomplete):
    """The cluster did not answer a request, or answered with an error."""


class _Output:
    """A job's output, which every connection sends from its beginning, passed on once."""

    def __init__(self, pass_on: Callable[[str], None]) -> None:
        self._pass_on = pass_on
        self.passed = self._came = 0  # characters, in all and of this connection

    def begin(self) -> None:
        """A new connection begins."""
        self._came = 0

    def add(self, text: str) -> None:
        """The next piece of this connection."""
        fresh = text[max(0, self.passed - self._came) :]
        self._came += len(text)
        self.passed = max(self.passed, self._came)
        if fresh:
            self._pass_on(fresh)


def job_name(args: Sequence[str]) -> str:
    """The name of a command line's job: the same for the same command and options."""
    return f"motif-{args[0]}-{hashlib.sha256(json.dumps(list(args)).encode()).hexdigest()[:10]}"


class Cluster:
    """A cluster by the URL of its dashboard. InputError if it cannot be used, Incomplete if it stops answering."""

    def __init__(self, address: str, patience: Patience = Patience()) -> None:
        self.address, self.patience = without_password(address), patience
        _check_reachable(address)
        try:
            self._client = JobSubmissionClient(address)
            # The SDK has no public call for this route.
            answer = self._client._do_request("GET", "/api/v0/cluster_metadata")
            answer.raise_for_status()
            found = answer.json()["data"]
        except Exception as error:  # of many types
            raise InputError(
                f"--address {self.address}: the jobs of this cluster cannot be used ({_reason(error)}). If it asks for "
                "a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN."
            ) from error
        _check_versions(self.address, found)

    def submit(self, args: Sequence[str], folder: Path, device: str | None = None) -> tuple[Job, bool]:
        """Start ``motif ARGS`` with the sources in ``folder``; returns the job, and whether it is a new one.

        The same command line has one job at a time: if it runs already, that job is returned. ``device``: where the
        command itself computes, ``auto``, ``cpu`` or ``cuda``; None for a command whose work is in tasks and workers,
        which Ray starts on the head.
        """
        name = job_name(args)
        number, earlier = 1, self.find(name)
        while earlier is not None and earlier.ended:
            number += 1
            earlier = self.find(f"{name}-{number}")
        if earlier is not None:
            return earlier, False
        job_id = name if number == 1 else f"{name}-{number}"
        share = {} if device is None else self._share(device)
        new = self._start(job_id, f"python -m infra {shlex.join(args)}", folder, share)
        return self.require(job_id), new

    def _share(self, device: str) -> dict[str, int]:
        """What a command needs that computes by itself: a GPU or a core, and so a node that has it.

        For ``cuda`` a GPU even if no node has one now: the cluster may grow.
        """
        on_gpu = device == "cuda" or (device == "auto" and self._has_gpu())
        return {"entrypoint_num_gpus": 1} if on_gpu else {"entrypoint_num_cpus": 1}

    def _has_gpu(self) -> bool:
        answer = self._ask(lambda: self._client._do_request("GET", "/api/v0/nodes?detail=1"))
        nodes = answer.json()["data"]["result"]["result"]
        return any(node["state"] == "ALIVE" and node["resources_total"].get("GPU", 0) >= 1 for node in nodes)

    def _start(self, job_id: str, entrypoint: str, folder: Path, share: dict[str, int]) -> bool:
        """Returns False if another process has just started this job."""
        latest = time.monotonic() + _AGENT_S
        while True:
            try:
                sources = {"working_dir": str(folder)}
                self._client.submit_job(entrypoint=entrypoint, submission_id=job_id, runtime_env=sources, **share)
                return True
            except Exception as error:  # of many types
                if f"{job_id} already exists" in str(error):
                    return False
                # The head answers before its own agent, which starts jobs, is up.
                if "No available agent" not in str(error) or time.monotonic() > latest:
                    raise _Refused(
                        f"--address {self.address}: the cluster did not take the job ({_reason(error)})."
                    ) from error
                time.sleep(self.patience.look)

    def _ask(self, request: Callable[[], Answer]) -> Answer:
        try:
            return request()
        except Exception as error:  # of many types
            raise _Refused(f"--address {self.address}: the cluster does not answer ({_reason(error)}).") from error

    def find(self, job_id: str) -> Job | None:
        """A job by its id, None if there is none."""
        try:
            found = self._ask(lambda: self._client.get_job_info(job_id))
        except _Refused as error:
            if f"{job_id} does not exist" in str(error):
                return None
            raise
        return Job(job_id, str(found.status.value), found.driver_exit_code, found.entrypoint, found.message or "")

    def require(self, job_id: str) -> Job:
        """A job by its id; InputError if there is none."""
        job = self.find(job_id)
        if job is None:
            raise InputError(f"{job_id}: {self.address} has no job of this name. `motif submit status` lists them.")
        return job

    def jobs(self) -> list[Job]:
        """All jobs of motif, the newest first."""
        listed = self._ask(self._client.list_jobs)
        found = [one for one in listed if (one.submission_id or "").startswith("motif-")]
        found.sort(key=lambda one: one.start_time or 0, reverse=True)
        return [Job(one.submission_id, one.status.value, one.driver_exit_code, one.entrypoint) for one in found]

    def stop(self, job_id: str) -> Job:
        """Stop a job, and wait until it has ended."""
        self.require(job_id)
        self._ask(lambda: self._client.stop_job(job_id))
        while not (job := self.require(job_id)).ended:
            time.sleep(self.patience.look)
        return job

    def follow(self, job_id: str, pass_on: Callable[[str], None], report: Callable[[str], None]) -> Job:
        """Pass on a job's output as it comes, until it has ended. Incomplete if the cluster cannot be reached."""
        output, seen, lost = _Output(pass_on), 0, 0.0
        while True:
            try:
                self._wait_for_start(job_id, report)
                self._ask(lambda: asyncio.run(self._tail(job_id, output)))
                job, lost = self.require(job_id), 0.0
                if job.ended:
                    return job
            except _Refused as error:
                if not lost:
                    report(f"the connection to {self.address} was lost; connecting again")
                if not lost or output.passed > seen:
                    lost, seen = time.monotonic(), output.passed
                if time.monotonic() - lost > self.patience.lost:
                    raise _Refused(f"{error} {job_id} may go on without this command.") from error
            time.sleep(self.patience.look)

    async def _tail(self, job_id: str, output: _Output) -> None:
        """Pass on output until the connection ends, or nothing comes for a while."""
        output.begin()
        try:
            async with asyncio.timeout(self.patience.silence) as limit:
                async for text in self._client.tail_job_logs(job_id):
                    output.add(text)
                    limit.reschedule(asyncio.get_running_loop().time() + self.patience.silence)
        except TimeoutError:
            return

    def _wait_for_start(self, job_id: str, report: Callable[[str], None]) -> None:
        began, told = time.monotonic(), False
        while (job := self.require(job_id)).status == JobStatus.PENDING.value:
            if not told and time.monotonic() - began > self.patience.start:
                report(f"{job_id} waits for the cluster: {job.message or 'it has not started yet'}")
                told = True
            time.sleep(self.patience.look)


def _reason(error: Exception) -> str:
    """One line of an error: the last one if its text is a traceback of the cluster."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" .")] or [type(error).__name__]
    return (lines[-1] if "Traceback" in lines[0] else lines[0]).rstrip(".")[:200]


def _check_reachable(address: str) -> None:
    shown = without_password(address)
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):  # no port is that large, or the scheme is another
        host, port = None, 0
    if not host:
        raise InputError(f"--address {shown}: give the URL of the cluster's dashboard, such as http://HEAD:8265.")
    try:
        socket.create_connection((host, port), _REACH_S).close()
    except OSError as error:
        raise InputError(
            f"--address {shown}: nothing answers there ({error}). Is the cluster up, and is this its dashboard?"
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
