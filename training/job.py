"""A training run's description, and what must hold before it starts or goes on."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from diffusion.config import to_json
from diffusion.errors import InputError
from diffusion.model_folder import ModelFacts
from diffusion.storage import Folder
from training.checkpoints import Checkpoints, Progress
from training.data.source import Source, SourceFacts
from training.recipes import Train

CONFIG = "config.json"
# What may differ between a run and its continuation: none of it changes what a step computes, but for rounding.
_FREE = ("steps", "hardware", "saves", "samples", "trackers")


@dataclass(frozen=True)
class TrainJob:
    """A run: its configuration, its datasets (folders or views), its folder."""

    config: Train
    data: tuple[str, ...]
    out: Folder


def open_sources(job: TrainJob) -> list[Source]:
    """The datasets of a job. InputError where one is unusable or two of them do not go together."""
    if not job.data:
        raise InputError("--data: name at least one dataset, made by `motif preprocess`.")
    image = job.config.network.takes_image_tokens
    sources = [Source(uri, job.config.artifacts, image=image) for uri in job.data]
    for source in sources[1:]:
        for field in ("latents", "text", "scaling_factor", "text_shape", "image"):
            first, other = getattr(sources[0].facts, field), getattr(source.facts, field)
            if first != other:
                raise InputError(
                    f"{field}: {sources[0].uri} has {first}, {source.uri} has {other}. Datasets of one run must come "
                    "from the same encoders."
                )
    return sources


def check_resume(job: TrainJob, sources: Sequence[Source]) -> Progress:
    """Where the run in the job's folder stands. InputError where that folder holds something else."""
    if not job.out.exists(CONFIG):
        if job.out.files() or set(job.out.folders()) - {"runs"}:  # where its lock lies
            raise InputError(f"--out {job.out.uri}: the folder is not empty and holds no run. Choose another.")
        return Progress()
    told = json.loads(job.out.read(CONFIG))
    for field, before, after in _differences(told, json.loads(json.dumps(describe(job, sources)))):
        if field.split(".")[1] not in _FREE:
            raise InputError(
                f"--out {job.out.uri} holds a run with {field.removeprefix('config.')} {before}, not {after}. Set it "
                "back to go on with that run, or choose another folder (network.start RUN/checkpoints/.../model goes "
                "on from its weights)."
            )
    return Checkpoints(job.out, job.config.saves.keep).latest() or Progress()


def write_description(job: TrainJob, sources: Sequence[Source]) -> None:
    """Write the resolved configuration beside the run: from then on the folder is that run's."""
    job.out.write(CONFIG, json.dumps(describe(job, sources), indent=2).encode())


def describe(job: TrainJob, sources: Sequence[Source]) -> dict[str, Any]:
    """A run as plain JSON: what is written beside it and compared when it goes on."""
    data = {f"{number}": {"uri": source.uri, "clips": len(source)} for number, source in enumerate(sources)}
    return {"config": to_json(job.config), "data": data}


def _differences(before: Any, after: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        found = [_differences(before.get(k), after.get(k), f"{path}.{k}".lstrip(".")) for k in before | after]
        return [item for items in found for item in items]
    return [] if before == after else [(path, before, after)]


def model_facts(config: Train, facts: SourceFacts) -> ModelFacts:
    """What the model of a run is made for."""
    _, frames, height, width = facts.shape
    return ModelFacts(
        latents=facts.latents,
        scaling_factor=facts.scaling_factor,
        text=facts.text,
        schedule=asdict(config.schedule),
        frames=frames,
        height=height,
        width=width,
        origin=config.network.start or "random weights",
    )
