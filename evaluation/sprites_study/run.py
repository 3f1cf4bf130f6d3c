"""One run of a study: training, videos of the held-out pairs, their scores, errors for figure 6. Each is done once."""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from torch.nn.attention import SDPBackend, sdpa_kernel

from base.device import find_device
from base.storage.folder import Folder
from evaluation.sprites.pairs import Pairs
from evaluation.sprites.sampling import sample_videos
from evaluation.sprites.scores import kept_scores, score_folder
from evaluation.sprites.summary import Scored
from evaluation.sprites_study.ratio import mean_weight, measured_errors
from evaluation.sprites_study.study import RunPlan, Study
from models.find import find_candidates
from training.run.job import TrainJob
from training.run.launch import launch
from training.run.tracking import read_metrics

_RESULT, _LOG = "result.json", "log.txt"
ERRORS = "errors.npz"
_LAST = 50  # steps of which the mean loss is reported


@dataclass(frozen=True)
class RunResult:
    """What a finished run took, and what it made."""

    arm: str
    seed: int
    step: int
    loss: float
    """Mean of the unweighted loss over the last steps."""
    mean_weight: float
    """Factor of the weighting on errors that are noise."""
    train_seconds: float
    evaluate_seconds: float
    parameters: int
    device: str
    """The GPU, or how many threads of a CPU."""


def run_one(study: Study, plan: RunPlan, report: Callable[[str], None]) -> RunResult:
    """Do what is missing of a run; all messages go to its log.txt, the main ones to ``report``, too."""
    place = study.folder(plan)
    if found := read_result(study, plan):
        return found
    place.mkdir(parents=True, exist_ok=True)
    with (place / _LOG).open("a") as log:

        def note(line: str) -> None:
            print(line, file=log, flush=True)
            if not line.startswith("step "):
                report(f"{plan.name}: {line}")

        result = _run(study, plan, note)
    Folder(str(place)).write(_RESULT, json.dumps(asdict(result), indent=2).encode())
    return result


def _run(study: Study, plan: RunPlan, note: Callable[[str], None]) -> RunResult:
    place, config = study.folder(plan), study.config(plan)
    train = place / "train"
    with _fast_attention(find_device(config.hardware.device)):
        progress = launch(TrainJob(config, (str(study.data),), Folder(str(train))), note)
    started = time.perf_counter()
    (model,) = find_candidates([str(train)])
    pairs = Pairs.read(study.pairs)
    videos = Folder(str(place / "videos"))
    key = sample_videos(model, pairs, study.size.sampling, videos, note)
    kept_scores(videos, key, lambda: score_folder(videos.path, pairs, note))
    measured_errors(study, model, place / ERRORS, note)
    steps = read_metrics(Folder(str(train)))
    return RunResult(
        arm=plan.arm,
        seed=plan.seed,
        step=progress.step,
        loss=sum(line["plain"] for line in steps[-_LAST:]) / len(steps[-_LAST:]),
        mean_weight=mean_weight(study, config.loss),
        train_seconds=sum(line["seconds"] for line in steps),
        evaluate_seconds=time.perf_counter() - started,
        parameters=sum(parameter.numel() for parameter in model.load().parameters()),
        device=_device(config.hardware.device),
    )


def _fast_attention(device: torch.device) -> AbstractContextManager[None]:
    """On a CPU, attention without a fused kernel, which is slow on many short sequences: steps take two thirds."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def _device(wanted: str) -> str:
    device = find_device(wanted)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, threads: {torch.get_num_threads()}"


def read_result(study: Study, plan: RunPlan) -> RunResult | None:
    """The result of a run; None if it is not finished."""
    try:
        text = (study.folder(plan) / _RESULT).read_text()
        return TypeAdapter(RunResult).validate_python(json.loads(text))
    except (OSError, ValueError, ValidationError):
        return None


def read_scores(study: Study, plan: RunPlan) -> list[Scored]:
    """The scores of a finished run's videos."""
    saved = json.loads((study.folder(plan) / "videos" / "scores.json").read_text())
    return TypeAdapter(list[Scored]).validate_python(saved["videos"])


def video_of(study: Study, plan: RunPlan, name: str) -> Path:
    """A finished run's video of a pair."""
    return study.folder(plan) / "videos" / name
