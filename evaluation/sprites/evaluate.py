"""Evaluates models on sprites: samples, scores, and controls whose scores are known."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from base.errors import InputError
from base.storage.folder import Folder
from evaluation.sprites.controls import CONTROLS, GROUND_TRUTH
from evaluation.sprites.pairs import Pairs
from evaluation.sprites.sampling import SamplingOptions, frames_of, sample_videos, video_name
from evaluation.sprites.scores import kept_scores, score_controls, score_folder
from evaluation.sprites.summary import Summary, summarise
from evaluation.sprites.videos import read_video
from models.find import Candidate, find_candidates, run_name
from models.run_folder import CONFIG
from pipeline.sprites.files import FPS


@dataclass(frozen=True)
class EvaluationJob:
    """What to evaluate: runs, model folders or folders of videos; the pairs; where videos and scores go."""

    subjects: tuple[str, ...]
    pairs: Path
    out: Folder
    """Local."""
    num: int | None = None
    options: SamplingOptions = SamplingOptions()


@dataclass(frozen=True)
class Row:
    """A line of the result: a control, or a model at a step (None: videos from elsewhere)."""

    name: str
    step: int | None
    summary: Summary


@dataclass(frozen=True)
class Evaluation:
    """The result."""

    controls: tuple[Row, ...]
    models: tuple[Row, ...]
    pairs: str
    options: SamplingOptions

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Subject:
    name: str
    model: Candidate | None
    videos: Path | None


def evaluate(job: EvaluationJob, report: Callable[[str], None]) -> Evaluation:
    """Evaluate; videos and scores that are there already are used. InputError before anything is sampled."""
    pairs = Pairs.read(job.pairs, job.num)
    subjects = _find(job.subjects)
    lengths = [_length(subject, pairs) for subject in subjects]
    if len(set(lengths)) > 1:
        named = ", ".join(
            f"{one.name} {frames} at {fps:g}" for one, (frames, fps) in zip(subjects, lengths, strict=True)
        )
        raise InputError(f"videos differ in frames and rate: {named} frames per second. Evaluate them one by one.")
    frames, fps = lengths[0]
    controls = score_controls(pairs, frames, fps, job.options.seed, job.out / "controls", report)
    truth = summarise(controls[GROUND_TRUTH]).right.value
    if truth < 1:
        report(
            f"ground truth is right in only {truth:.0%}, which no model can exceed: {frames} frames at {fps:g} "
            "per second may be too short for slow motions, or shapes hide each other (`motif sprites --clear`)"
        )
    models = []
    for number, subject in enumerate(subjects):
        place = job.out / _folder_name(subject.name, number, [one.name for one in subjects])
        if subject.model is not None:
            key = sample_videos(subject.model, pairs, job.options, place, report)
            scores = kept_scores(place, key, partial(score_folder, place.path, pairs, report))
            models.append(Row(subject.name, subject.model.facts.step, summarise(scores)))
        else:
            assert subject.videos is not None
            models.append(Row(subject.name, None, summarise(score_folder(subject.videos, pairs, report))))
    rows = tuple(Row(name, None, summarise(controls[name])) for name in CONTROLS)
    return Evaluation(rows, tuple(models), str(job.pairs), job.options)


def _folder_name(name: str, number: int, names: Sequence[str]) -> str:
    """A folder for a subject's videos: its name, and its number if another one would have the same folder."""
    safe = [re.sub(r"[^\w.-]+", "_", one) for one in names]
    mine = re.sub(r"[^\w.-]+", "_", name)
    return mine if safe.count(mine) == 1 and mine != "controls" else f"{number}-{mine}"


def _find(places: Sequence[str]) -> list[_Subject]:
    """What the places hold; InputError if one holds nothing that can be evaluated, or two have the same name."""
    found = []
    for place in places:
        folder = Folder(place)
        local = None if folder.remote else folder.path
        if local is not None and not folder.exists(CONFIG) and any(local.glob("[0-9]*.mp4")):
            found.append(_Subject(run_name(place), None, local))
        else:
            (model,) = find_candidates([place])
            if not model.takes_image():
                raise InputError(
                    f"{place}: {model.name} makes videos from text alone, and only videos that begin with the pictures "
                    "of the pairs can be scored. Leave it out."
                )
            found.append(_Subject(model.name, model, None))
    names = [subject.name for subject in found]
    if len(set(names)) < len(names):
        found = [_Subject(place.rstrip("/"), one.model, one.videos) for place, one in zip(places, found, strict=True)]
    return found


def _length(subject: _Subject, pairs: Pairs) -> tuple[int, float]:
    """Frames of a subject's videos, and their rate."""
    if subject.model is not None:
        return frames_of(subject.model.facts, pairs), subject.model.facts.default_fps
    assert subject.videos is not None
    video = read_video(subject.videos / video_name(pairs.clips[0].number))
    if len(video.frames) > pairs.world.frames * video.fps / FPS + 1:
        raise InputError(
            f"{subject.videos}: its videos last longer than the clips of the pairs, {pairs.seconds:g} s. Cut them."
        )
    return len(video.frames), video.fps
