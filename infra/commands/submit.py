"""``motif submit``: a command as a job of a Ray cluster."""

import importlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.errors import InputError
from infra.options import report

if TYPE_CHECKING:
    from infra.submission.cluster import Cluster, Job

# The options that are paths; "" is what comes before all options.
_PATHS = {
    "preprocess": ("--manifest", "--out", "--base-model"),
    "train": ("--data", "--out", "--base-model", "--network.start"),
    "validate": ("", "--data", "--out"),
    "sample": ("", "--image", "--pairs", "--out", "--grid"),
}
_USAGE = """usage: motif submit COMMAND ... [--address URL] [--detach]
       motif submit status [JOB] | logs JOB | stop JOB [--address URL]

Runs preprocess, train, validate or sample, with the options that it has here, as a job of a Ray cluster, and shows its
output. The sources of motif are sent along, data is not: paths must be absolute, on disks that all nodes share, or
s3://. Ctrl+C leaves the job running; submitting the same command again follows it, or resumes it if it has ended.

  --address URL   the cluster's dashboard, such as http://HEAD:8265; by default RAY_API_SERVER_ADDRESS
  --detach        do not wait for the end"""


def main(args: list[str]) -> int:
    """Run the command. Returns the job's exit status."""
    args, address = _take(args, "--address")
    asks = {"-h", "--help"} & set(args)
    if not args or args[0] in asks or (asks and args[0] in _ACTIONS):
        print(_USAGE)
        return 0
    action, rest = args[0], args[1:]
    if action in _ACTIONS:
        return _ACTIONS[action](rest, address)
    if action not in _PATHS:
        raise InputError(f"motif submit {action}: there are {', '.join(_PATHS)}, status, logs and stop.")
    detach = "--detach" in rest
    return _submit([action, *(arg for arg in rest if arg != "--detach")], address, detach)


def _submit(args: list[str], address: str | None, detach: bool) -> int:
    if not args[1:] or {"-h", "--help"} & set(args):
        importlib.import_module(f"infra.commands.{args[0]}").main(args[1:])
        return 0
    _check_paths(args)
    given = importlib.import_module(f"infra.commands.{args[0]}").read(args[1:])
    from infra.submission.project import pack

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "motif"
        folder.mkdir()
        packed = pack(folder, args)
        cluster = _cluster(address)
        job, new = cluster.submit(packed, folder, _device(args[0], given))
    report(f"{job.id} {'is submitted' if new else 'runs already'}")
    if detach:
        print(json.dumps({"job": job.id, "status": job.status}))
        return 0
    return _follow(cluster, job)


def _device(command: str, given: Any) -> str | None:
    """Where a command with these options computes itself; None if tasks and workers of the cluster do."""
    if command == "preprocess" or (command == "train" and given.recipe.hardware.workers):
        return None
    options = {"train": lambda: given.recipe.hardware, "validate": lambda: given.measuring, "sample": lambda: given[1]}
    return str(options[command]().device)


def _follow(cluster: "Cluster", job: "Job") -> int:
    started = time.perf_counter()
    try:
        job = cluster.follow(job.id, _show, report)
    except KeyboardInterrupt:
        report(f"motif: {job.id} goes on. `motif submit logs {job.id}` shows its output, `stop` stops it.")
        return 130
    print(json.dumps({"job": job.id, "status": job.status, "seconds": round(time.perf_counter() - started, 1)}))
    if job.status == "SUCCEEDED":
        return 0
    if job.status == "FAILED" and not job.exit_code:
        report(f"motif: {job.id} failed: {job.message.strip().splitlines()[0] if job.message else 'Ray says no more'}")
    return job.exit_code or (130 if job.status == "STOPPED" else 1)


def _show(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)


def _status(rest: list[str], address: str | None) -> int:
    cluster = _cluster(address)
    for job in [cluster.require(rest[0])] if rest else cluster.jobs():
        status = f"{job.status} ({job.exit_code})" if job.exit_code else job.status
        print(f"{job.id:<34} {status:<12} {job.command.removeprefix('python -m infra ')}")
    return 0


def _logs(rest: list[str], address: str | None) -> int:
    job_id = _job_id(rest, "logs")
    cluster = _cluster(address)
    return _follow(cluster, cluster.require(job_id))


def _stop(rest: list[str], address: str | None) -> int:
    job_id = _job_id(rest, "stop")
    job = _cluster(address).stop(job_id)
    report(f"{job.id}: {job.status}")
    return 0


_ACTIONS = {"status": _status, "logs": _logs, "stop": _stop}


def _job_id(rest: list[str], action: str) -> str:
    if len(rest) != 1:
        raise InputError(f"motif submit {action}: give one job, such as those that `motif submit status` lists.")
    return rest[0]


def _cluster(address: str | None) -> "Cluster":
    address = address or os.environ.get("RAY_API_SERVER_ADDRESS")
    if not address:
        raise InputError("--address is missing: give the URL of the cluster's dashboard, such as http://HEAD:8265.")
    _use_token()
    from infra.submission.cluster import Cluster

    return Cluster(address)


def _use_token() -> None:
    """Send Ray's token if this user has one, as the ``ray`` command does. Ray reads the mode when it is imported."""
    there = Path.home() / ".ray" / "auth_token"
    if there.exists() or {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _take(args: list[str], name: str) -> tuple[list[str], str | None]:
    """The arguments without an option, and its value."""
    for number, arg in enumerate(args):
        if arg.startswith(f"{name}="):
            return args[:number] + args[number + 1 :], arg.removeprefix(f"{name}=")
        if arg == name:
            if number + 1 == len(args):
                raise InputError(f"{name}: its value is missing.")
            return args[:number] + args[number + 2 :], args[number + 1]
    return args, None


def _check_paths(args: list[str]) -> None:
    """InputError for a path that a node of a cluster does not see as this machine does."""
    option = ""
    for arg in args[1:]:
        name, equals, value = arg.partition("=")
        if arg.startswith("-"):
            option = name.replace("_", "-")
            if not equals:
                continue
        else:
            value = arg
        if option in _PATHS[args[0]] and value and "://" not in value and not Path(value).is_absolute():
            raise InputError(
                f"{option or args[0]} {value}: nodes of a cluster do not see this path. Give an absolute path on a "
                "disk that all of them share, or s3://."
            )
