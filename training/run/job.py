"""A training run's description, and the checks before it starts or resumes."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from base.config import to_json
from base.errors import InputError
from base.software import software
from base.storage.folder import Folder
from base.storage.uri import is_remote, local_path
from dataset.lock import Fence
from models.card import Base, ModelCard, ModelFacts
from models.encoders.same_weights import WEIGHTS, Recorded, same_weights, unlike_settings
from models.folder import describe_base
from models.run_folder import CONFIG, read_description
from training.data.motion import find_bounds
from training.data.source import ENCODERS, Source, SourceFacts
from training.loop.train_loop import Progress
from training.network import start_model
from training.recipes import Train
from training.run.checkpoints import Checkpoints
from training.run.encoders import find_encoder

LAUNCHES = "launches.jsonl"
_BOUNDS = "motion_bounds"
# Settings that may change when a run is resumed. Hardware only affects rounding and the network's own dropout; the
# learning rate may have to be lowered after a run diverged.
_MAY_CHANGE = (
    "steps",
    "hardware",
    "saves",
    "samples",
    "trackers",
    "optimiser.lr",
    "optimiser.warmup",
    "optimiser.clip_norm",
)
# Settings that runs of earlier versions did not record, with their values then.
_EARLIER: dict[str, Any] = {"window": 0, "fps_max": None}


@dataclass(frozen=True)
class TrainJob:
    """A run: its configuration, its datasets (folders or views), its folder."""

    config: Train
    data: tuple[str, ...]
    out: Folder
    fence: Fence | None = None
    """The lock that its workers hold while they write."""
    command: str = ""
    """The command that launches it, for the record; empty if it is launched from Python."""

    def resolved(self) -> "TrainJob":
        """The same job with absolute paths, since workers have another working directory."""
        network = self.config.network
        if network.start and not is_remote(network.start):
            network = replace(network, start=str(local_path(network.start)))
        data = tuple(uri if is_remote(uri) else str(local_path(uri)) for uri in self.data)
        out = self.out if self.out.remote or not self.out.uri else Folder(str(self.out.path))
        return replace(self, config=replace(self.config, network=network), data=data, out=out)

    def as_begun(self) -> "TrainJob":
        """The same job; to resume a run of an earlier version, with that version's settings.

        Such a run keeps its order of clips, which its configuration records from then on.
        """
        if not self.out.uri or not self.out.exists(CONFIG) or Checkpoints(self.out, 1).latest() is None:
            return self
        begun = read_description(self.out)["config"]
        earlier = {name: value for name, value in _EARLIER.items() if name not in begun}
        return replace(self, config=replace(self.config, **earlier))


def open_sources(job: TrainJob) -> list[Source]:
    """The datasets of a job. InputError if one is unusable or two do not match."""
    if not job.data:
        raise InputError("--data is missing: give at least one dataset made by `motif preprocess`.")
    if len(set(job.data)) < len(job.data):
        raise InputError(
            f"--data {' '.join(job.data)}: give each dataset once; use a view's weight for a larger share."
        )
    config, network = job.config, job.config.network
    options: dict[str, Any] = {"image": network.takes_image_tokens, "motion": network.takes_motion_level}
    sources = [Source(uri, config.artifacts, fps_max=config.fps_max, **options) for uri in job.data]
    for source in sources[1:]:
        for field, first, other in _unlike(sources[0].facts, source.facts):
            raise InputError(
                f"{field}: {sources[0].uri} has {first}, {source.uri} has {other}. Datasets of one run must come from "
                "the same encoders."
            )
    return sources


def _unlike(first: SourceFacts, other: SourceFacts) -> Iterator[tuple[str, Any, Any]]:
    """Fields in which two datasets differ: name, value in the first, value in the other."""
    for field in ("scaling_factor", "text_shape"):
        if getattr(first, field) != getattr(other, field):
            yield field, getattr(first, field), getattr(other, field)
    for kind in ENCODERS:
        one, two = (Recorded(getattr(facts, kind), facts.encoders.get(kind)) for facts in (first, other))
        for key in unlike_settings(one.identity, two.identity):
            yield f"{kind}.{key}", one.identity[key], two.identity[key]
        if one.identity.keys() ^ two.identity.keys() <= WEIGHTS and same_weights(kind, one, two):
            continue
        yield kind, one.describe() or dict(one.identity), two.describe() or dict(two.identity)


def check_resume(job: TrainJob, sources: Sequence[Source]) -> Progress:
    """The progress of the run in the job's folder. InputError if the folder holds anything else."""
    if not job.out.exists(CONFIG):
        if job.out.files() or set(job.out.folders()) - {"runs"}:  # the folder of its lock
            raise InputError(f"--out {job.out.uri}: the folder is neither empty nor a run. Choose another.")
        return Progress()
    described = read_description(job.out)
    described["config"] = _EARLIER | described["config"]
    progress = Checkpoints(job.out, job.config.saves.keep).latest()
    if progress is None:
        return Progress()  # nothing was saved yet, so any setting may change
    for field, before, after in _differences(described, json.loads(json.dumps(describe(job, sources)))):
        name = field.removeprefix("config.")
        if name.startswith(_MAY_CHANGE) or name.endswith(".uri"):
            continue
        another = "choose another folder (--network.start RUN/checkpoints/.../model starts from its weights)."
        if name.startswith("data."):
            raise InputError(
                f"--out {job.out.uri} holds a run that began with other data than --data {' '.join(job.data)}: {name} "
                f"{before}, not {after}. `motif preprocess`, `retry` and `dataset compact` change the clips or their "
                f"order. Give the same data to resume that run, or {another}"
            )
        raise InputError(
            f"--out {job.out.uri} holds a run with {name} {before}, not {after}. Restore it to resume that run, or "
            f"{another}"
        )
    return progress


def write_description(job: TrainJob, sources: Sequence[Source]) -> None:
    """Write the resolved configuration into the run's folder."""
    job.out.write(CONFIG, json.dumps(describe(job, sources), indent=2).encode())


def record_launch(job: TrainJob, step: int) -> None:
    """Add a line to the run's record of launches: when, from which step on, by which command and software."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    line = json.dumps({"time": now, "step": step, "command": job.command or None, "software": software()})
    earlier = job.out.read(LAUNCHES) if job.out.exists(LAUNCHES) else b""
    job.out.write(LAUNCHES, earlier + line.encode() + b"\n")


def describe(job: TrainJob, sources: Sequence[Source]) -> dict[str, Any]:
    """A run as plain JSON, as stored in its folder and compared on resume."""
    data = {
        f"{number}": {"uri": source.uri, "clips": len(source), "digest": source.digest()}
        for number, source in enumerate(sources)
    }
    bounds = motion_bounds(job, sources)
    motion = {_BOUNDS: list(bounds)} if bounds else {}
    return {"config": to_json(job.config), "data": data} | _describe_base(job.config) | motion


def motion_bounds(job: TrainJob, sources: Sequence[Source]) -> tuple[float, ...]:
    """The bounds of a run's motion levels; none if its network takes no level.

    A run that has a checkpoint keeps those that it began with; else they are the deciles of its datasets.
    """
    if not job.config.network.takes_motion_level:
        return ()
    if job.out.uri and job.out.exists(CONFIG) and Checkpoints(job.out, 1).latest() is not None:
        begun = read_description(job.out).get(_BOUNDS)
        if begun:
            return tuple(begun)
    return find_bounds([source.ssim for source in sources], [source.weight for source in sources])


def _describe_base(config: Train) -> dict[str, Any]:
    """The model that an adapter belongs to: its checkpoints do not hold it, so it must be the same on resume."""
    base = _base(config)
    return {} if base is None else {"base": {"uri": base.weights.source, "tensors": base.tensors}}


def _base(config: Train) -> Base | None:
    return None if config.adapter is None else describe_base(start_model(config.network.start))


def _differences(before: Any, after: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        found = [_differences(before.get(k), after.get(k), f"{path}.{k}".lstrip(".")) for k in before | after]
        return [item for items in found for item in items]
    return [] if before == after else [(path, _named(before), _named(after))]


def _named(value: Any) -> Any:
    """A value in a message: of a configuration, the name of its type."""
    return value.get("type", value) if isinstance(value, dict) else value


def model_card(config: Train, sources: Sequence[Source], bounds: tuple[float, ...] = ()) -> ModelCard:
    """The card of a run's model: its data settings, the bounds of its motion levels, and frozen encoders."""
    source = sources[0]
    facts, start = source.facts, config.network.start
    slowest, usual, fastest = frame_rates(sources)
    _, frames, height, width = facts.shape
    model = ModelFacts(
        latents=facts.latents,
        scaling_factor=facts.scaling_factor,
        text=facts.text,
        schedule=config.schedule,
        frames=frames,
        height=height,
        width=width,
        origin=start or "random weights",
        fps=(slowest, fastest),
        usual_fps=usual,
        image=facts.image,
        sampling=config.samples.sampling(),
        motion_bounds=bounds,
    )
    image = find_encoder("image_encoder", start, source) if facts.image else None
    vae, text = find_encoder("vae", start, source), find_encoder("text_encoder", start, source)
    return ModelCard(model, vae, text, image, base=_base(config))


def frame_rates(sources: Sequence[Source]) -> tuple[float, float, float]:
    """The 5th, 50th and 95th percentiles of the clips' frame rates, weighted by how often each is seen.

    Percentiles are robust against a few outliers, such as 1000 frames per second.
    """
    rates = np.concatenate([source.rates for source in sources])
    seen = np.concatenate([np.full(len(source.rates), source.weight / len(source.rates)) for source in sources])
    found = np.quantile(rates, [0.05, 0.5, 0.95], weights=seen, method="inverted_cdf")
    slowest, usual, fastest = (float(rate) for rate in found)
    return slowest, usual, fastest
