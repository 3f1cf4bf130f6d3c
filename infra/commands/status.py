"""``motif status``: who writes to a dataset or run, how far it is, and what to do next; the same of a server."""

import json
import os
import shlex
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from base.errors import InputError
from base.storage.folder import Folder
from base.storage.uri import is_remote, without_password
from dataset.catalog import FILE as CATALOG
from dataset.catalog import Catalog
from dataset.holder import Holder
from dataset.lock import PATIENCE_S, find_holder
from infra.options import parse, plural, take_positional
from models.run_folder import CONFIG

if TYPE_CHECKING:
    from pipeline.curation.status import ArtifactStatus, DatasetStatus

_HEAD = 12  # characters before a line's text
_TIMEOUT_S = 10.0
_NUMBERS = ("queued", "in_progress", "workers", "oldest_s")


@dataclass(frozen=True)
class Options:
    """Say who writes to a dataset or a run's folder, how far it is and what to do next; or the same of a server.

    Nothing is changed, and no lock is taken.
    """

    key: str = ""
    """A server's API key, if it requires one; MOTIF_API_KEY is safer, as process lists do not show it."""
    json: bool = False
    """Print one JSON object instead of lines."""


@dataclass
class Status:
    """What is printed: lines with their heads, the same facts for ``--json``, and what to do next, if anything."""

    facts: dict[str, Any]
    lines: list[tuple[str, str]] = field(default_factory=list)
    next: list[str] = field(default_factory=list)


def main(args: list[str]) -> None:
    """Run the command."""
    place, rest = take_positional(args, "PLACE", "motif status")
    options = parse(Options, rest, "motif status PLACE")
    status = _server(place, options.key) if place.startswith(("http://", "https://")) else _folder(place.rstrip("/"))
    if options.json:
        print(json.dumps({"place": without_password(place), **status.facts, "next": status.next}, indent=2))
        return
    for head, text in [*status.lines, *(("next", text) for text in status.next)]:
        print(f"{head:<{_HEAD}} {text}")


def _folder(place: str) -> Status:
    folder = Folder(place)
    if not is_remote(place) and folder.path.is_file():
        Catalog.require(folder)  # an error, which says of which dataset a view is
    describe = _dataset if folder.exists(CATALOG) else _run if folder.exists(CONFIG) else None
    holder = find_holder(folder)
    if describe is None and holder is None:
        raise InputError(
            f"{place}: neither a dataset, nor a run's folder, nor the URL of a server. Give the --out of `motif "
            "preprocess` or `motif train`, or a URL such as http://127.0.0.1:8000."
        )
    found = Status({}) if describe is None else describe(folder, holder is not None and holder.state != "ended")
    found.facts["writer"] = None if holder is None else {"host": holder.host, "pid": holder.pid, "state": holder.state}
    found.lines.insert(0, ("writer", _writer(holder)))
    if describe is None:
        found.lines.append(("", "nothing is written there yet"))
    if holder is not None and holder.state in ("elsewhere", "unknown"):
        found.next.insert(0, f"if that process has certainly ended: motif unlock {shlex.quote(place)}")
    return found


def _writer(holder: Holder | None) -> str:
    if holder is None:
        return "none"
    return {
        "alive": f"{holder}, alive",
        "ended": f"none; {holder} has ended without releasing the lock, and the next run takes it over",
        "elsewhere": f"{holder}; whether it lives is not known here, `motif unlock` watches it for {PATIENCE_S:.0f} s",
        "unknown": "unknown: the lock's file is empty or damaged",
    }[holder.state]


def _dataset(folder: Folder, held: bool) -> Status:
    """A dataset; ``held``: a run that may be alive holds its lock."""
    from pipeline.curation.status import read_status

    found = read_status(folder)
    counts = f"{found.clips:,} written, {found.filtered:,} filtered, {found.failed:,} failed"
    status = Status({"kind": "dataset", **asdict(found)}, [("clips", counts)])
    if found.planned:
        what = "this run" if held else "the stopped run"
        status.lines.append(("", f"{found.settled:,} of the {found.planned:,} new ones of {what}"))
    status.lines += [(name, _artifact(artifact)) for name, artifact in found.artifacts.items()]
    status.lines += [(name, plural(count, "caption")) for name, count in found.captions.items()]
    if (last := found.last_run) is not None:
        ended = f"{last.error['class']}: {last.error['message']}" if last.error else "complete"
        ended = ended if last.error or last.complete else "incomplete"
        status.lines.append(("last run", f"{last.run}, {_duration(last.seconds)}, {ended}"))
    status.lines += [("damaged", f"{file}: {what}") for file, what in found.damaged.items()]
    status.next = _next_for_dataset(shlex.quote(folder.uri), found, held)
    return status


def _artifact(found: "ArtifactStatus") -> str:
    text = f"lacks {plural(found.lacking, 'clip')}" if found.lacking else ""
    text += " (of an earlier recipe)" if found.replaced else ""
    text += (", " if text else "") + f"{plural(found.failed, 'clip')} failed in it" if found.failed else ""
    return text or "complete"


def _next_for_dataset(place: str, found: "DatasetStatus", held: bool) -> list[str]:
    steps, last = [], found.last_run
    if found.damaged:
        steps.append(f"motif dataset verify {place} --repair, then the last `motif preprocess` again")
    if held:
        return steps
    lacking = any(artifact.lacking and not artifact.replaced for artifact in found.artifacts.values())
    if found.planned or lacking or last is None or not last.complete:
        steps.append(last.command if last else "run the same `motif preprocess` again; what was written is kept")
    if found.failed or any(artifact.failed for artifact in found.artifacts.values()):
        steps.append(f"motif retry {place}, to try failed clips again; motif inspect {place} shows the reasons")
    return steps


def _run(folder: Folder, held: bool) -> Status:
    """A training run; ``held``: a process that may be alive holds its lock."""
    from training.run.status import read_status

    found = read_status(folder)
    text = f"{found.step:,} of {found.steps:,}"
    if found.loss is not None and found.seconds_a_step is not None:
        text += f", loss {found.loss:.4f}, {found.seconds_a_step:.3g} s a step"
        text += f", {_duration(found.left_s or 0)} left" if held and found.step < found.steps else ""
    text += "" if found.metrics_age_s is None else f"; {_duration(found.metrics_age_s)} ago"
    saved = (
        "none yet" if found.checkpoint is None else f"{found.checkpoint}, {_duration(found.checkpoint_age_s or 0)} ago"
    )
    status = Status({"kind": "run", **asdict(found)}, [("step", text), ("checkpoint", saved)])
    if not held and found.checkpoint_step < found.steps:
        words = ["motif", "train", "--config", folder.file(CONFIG), "--data", *found.data, "--out", folder.uri]
        status.next.append(f"{shlex.join(words)}, which continues from step {found.checkpoint_step:,}")
    return status


def _server(url: str, key: str) -> Status:
    """A server by its URL. ServerError if it cannot be reached, or is another kind of server."""
    from serving.client.client import Client
    from serving.client.http import ServerError

    status, numbers, reason = Status({"kind": "server"}), dict.fromkeys(_NUMBERS), None
    with Client(url, key or os.environ.get("MOTIF_API_KEY"), timeout=_TIMEOUT_S, patience=0) as client:
        try:
            numbers |= client.ready()
        except ServerError as error:
            if error.status != 503:
                raise
            reason = error.message
            status.next.append(_REMEDIES.get(error.code or "", "look at the server's own log"))
        try:
            models = [str(model["id"]) for model in client.models()]
        except ServerError as error:
            models = []
            status.lines.append(("models", f"unknown: {error.message}"))
            if error.status == 401:
                status.next.append("give the server's key: export MOTIF_API_KEY=...")
    status.lines.insert(0, ("ready", "yes" if reason is None else f"no: {reason}"))
    status.lines += [("models", ", ".join(models))] if models else []
    if reason is None:
        text = f"{numbers['queued']} queued, {numbers['in_progress']} in progress"
        text += f", the oldest waits for {_duration(numbers['oldest_s'] or 0)}" if numbers["queued"] else ""
        status.lines += [("jobs", text), ("workers", str(numbers["workers"]))]
    status.facts |= {"ready": reason is None, "reason": reason, "models": models or None, **numbers}
    return status


_REMEDIES = {
    "not_ready": "wait for a model to load; if it takes minutes, look at the server's own log",
    "shutting_down": "start it again with the same `motif serve` once it has ended",
    "storage_unavailable": "free space in its --folder, and check that its --database answers",
}


def _duration(seconds: float) -> str:
    """``12 s``, ``5 min``, ``3 h 20 min`` or ``2 d 4 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
