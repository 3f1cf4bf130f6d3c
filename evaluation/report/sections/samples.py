"""Sample videos side by side, for the same picture and prompt: of training, of ``motif sample``, of moving sprites."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from base.errors import InputError
from base.storage.folder import Folder
from evaluation.report.content import Missing, Section, VideoRow
from evaluation.report.results import Found, name_of
from evaluation.report.run import Run
from evaluation.report.sections.settings import train_commands
from evaluation.report.videos import embed, read_tags
from evaluation.sprites.controls import GROUND_TRUTH
from evaluation.sprites.evaluate import Evaluation

_RECORD = "prompts.json"
_OPTIONS = ("seed", "steps", "guidance", "guidance_rescale", "eta", "spacing", "solver", "guidance_interval")


@dataclass
class _Row:
    """Videos of the same picture and prompt: title, folder, file, whether it is right."""

    title: str
    videos: list[tuple[str, Folder, str, bool | None]] = field(default_factory=list)


def training_section(runs: Sequence[Run], num: int) -> Section:
    """Videos that the runs sampled while they trained: of one run at several steps, of several at their last one."""
    rows = _training_rows(runs, num)
    without = [run for run in runs if not _sampled_steps(run)]
    return Section(
        key="training_samples",
        title="Samples while it trained" if len(runs) == 1 else "Samples while they trained",
        text="Clips of the training data. Left: the clip as its latents give it back. Right: sampled from its first "
        "frame and prompt.",
        videos=_embedded(rows),
        missing=tuple(
            Missing(f"samples of {run.name}: it has none (--samples.every of `motif train`)", (_form(run),))
            for run in without
        ),
        commands=tuple(command for run in runs if run not in without for command in train_commands(run)),
    )


def folders_section(runs: Sequence[Run], places: Sequence[str], num: int) -> Section:
    """Videos of the same name, prompt and seed from several folders. InputError if a folder has no video."""
    folders = [Folder(place.rstrip("/")) for place in dict.fromkeys(places)]
    files = [_videos_in(folder) for folder in folders]
    rows = _matched(folders, files, num)
    notes: list[str] = []
    if len(folders) > 1 and all(len(row.videos) < len(folders) for row in rows):
        notes.append("No video has the same name, prompt and seed in all folders, so they cannot be compared.")
    return Section(
        key="samples",
        title="Samples of the same pictures and prompts",
        text="Videos of the same file name, prompt and seed side by side, as `motif sample` writes them for the same "
        "--pairs.",
        notes=tuple(notes),
        videos=_embedded(rows),
        missing=() if places else (Missing("samples of chosen pictures and prompts: no --samples", (_form(runs[0]),)),),
        commands=tuple(_by_tags(folder, names[0]) for folder, names in zip(folders, files, strict=True)),
    )


def scored_section(runs: Sequence[Run], results: Sequence[Found[Evaluation]], num: int) -> Section | None:
    """Videos that were scored exactly, with their verdicts; None if there are none."""
    rows: dict[tuple[str, str], _Row] = {}
    for found in results:
        truth = Folder(found.result.pairs) / "videos"
        for folder, model, verdicts in _scored(found, runs):
            for name in list(verdicts)[:num]:
                if not folder.exists(name):
                    continue
                row = rows.get((found.result.pairs, name))
                if row is None:
                    row = rows[found.result.pairs, name] = _Row(read_tags(folder, name).get("prompt", name))
                    row.videos += [(GROUND_TRUTH, truth, name, None)] if truth.exists(name) else []
                row.videos.append((model, folder, name, verdicts[name]))
    if not rows:
        return None
    return Section(
        key="sprites_samples",
        title="Samples of moving sprites",
        text="The first held-out pairs; several have the same picture and another prompt.",
        videos=_embedded(list(rows.values())),
        commands=tuple(found.made_by("motif evaluate sprites RUN --pairs SPRITES --out SCORES") for found in results),
    )


def _form(run: Run) -> str:
    place = shlex.quote(run.folder.uri)
    return f"motif sample {place} --pairs PAIRS.csv --out SAMPLES; then give --samples SAMPLES ... here"


def _by_tags(folder: Folder, name: str) -> str:
    """The command that made a folder of samples, as far as the tags of a video say."""
    tags = read_tags(folder, name)
    words = ["motif", "sample", "MODEL", "--pairs", "PAIRS.csv", "--out", folder.uri]
    for option in _OPTIONS:
        words += [f"--{option.replace('_', '-')}", *tags[option].split()] if option in tags else []
    model = f"model {tags['model']}" if "model" in tags else "the model is not known"
    return f"{shlex.join(words)}   (by the tags of {name}; {model} {tags.get('revision', '')}".rstrip() + ")"


def _embedded(rows: Sequence[_Row]) -> tuple[VideoRow, ...]:
    return tuple(
        VideoRow(row.title, tuple(embed(folder, name, title, right) for title, folder, name, right in row.videos))
        for row in rows
    )


def _training_rows(runs: Sequence[Run], num: int) -> list[_Row]:
    """A row for each clip, with a video of each step, or of each run's last step.

    Runs show the same clips if they have the same data, seed and window.
    """
    rows: dict[tuple[str, ...], _Row] = {}
    for run in runs:
        steps = _sampled_steps(run)
        if len(runs) == 1 and steps:
            steps = [steps[at] for at in sorted({0, len(steps) // 2, len(steps) - 1})]
        clips = json.dumps([[one.digest for one in run.data], run.config.get("seed"), run.config.get("window")])
        for step in steps if len(runs) == 1 else steps[-1:]:
            folder = run.folder / "samples" / step
            title = f"step {int(step.rpartition('-')[2]):,}"
            for name, prompt in _prompts(folder)[:num]:
                row = rows.setdefault((clips, name, prompt), _Row(prompt))
                row.videos.append((title if len(runs) == 1 else f"{run.name}, {title}", folder, name, None))
    return list(rows.values())


def _sampled_steps(run: Run) -> list[str]:
    """The folders of steps whose samples are complete, first to last."""
    place = run.folder / "samples"
    return [name for name in place.folders() if name.startswith("step-") and (place / name).exists(_RECORD)]


def _prompts(folder: Folder) -> list[tuple[str, str]]:
    """The files of a step's samples with their prompts."""
    try:
        found: list[dict[str, Any]] = json.loads(folder.read(_RECORD))["samples"]
        return [(str(one["file"]), str(one["prompt"])) for one in found]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder.file(_RECORD)} is damaged, or of another version of motif. Delete the folder of these samples."
        ) from error


def _videos_in(folder: Folder) -> list[str]:
    found = [entry.name for entry in folder.files(".mp4")]
    if not found:
        raise InputError(f"--samples {folder.uri}: there is no .mp4 file. Give a folder of `motif sample --out`.")
    return found


def _matched(folders: Sequence[Folder], files: Sequence[Sequence[str]], num: int) -> list[_Row]:
    """Rows of ``num`` names: first those that all folders have."""
    every = list(dict.fromkeys(name for names in files for name in names))
    every.sort(key=lambda name: -sum(name in names for names in files))
    titles = _titles(folders)
    rows: list[_Row] = []
    for name in every[:num]:
        same: dict[tuple[str, str], _Row] = {}
        for folder, title, names in zip(folders, titles, files, strict=True):
            if name in names:
                tags = read_tags(folder, name)
                key = tags.get("prompt", ""), tags.get("seed", "")
                row = same.setdefault(key, _Row(key[0] or name))
                row.videos.append((title, folder, name, None))
        rows += same.values()
    return rows


def _titles(folders: Sequence[Folder]) -> list[str]:
    last = [folder.absolute().uri.rpartition("/")[2] for folder in folders]
    return [name if last.count(name) == 1 else folder.uri for name, folder in zip(last, folders, strict=True)]


def _scored(found: Found[Evaluation], runs: Sequence[Run]) -> list[tuple[Folder, str, dict[str, bool]]]:
    """The folders of an evaluation's models in its order, their names, and by file whether a video is right."""
    models = [row.name for row in found.result.models]
    scored = []
    for name in found.folder.folders():
        folder = found.folder / name
        if not (folder.exists("videos.json") and folder.exists("scores.json")):
            continue
        try:
            model = str(json.loads(folder.read("videos.json"))["model"])
            scores = [one["score"] for one in json.loads(folder.read("scores.json"))["videos"]]
            verdicts = {f"{one['clip']:06}.mp4": one["object_right"] and one["direction_right"] for one in scores}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{folder.uri}: videos.json or scores.json is damaged, or of another version of motif. Run `motif "
                "evaluate sprites` again."
            ) from error
        if model in models:
            scored.append((models.index(model), (folder, name_of(model, found, runs), verdicts)))
    return [one for _, one in sorted(scored, key=lambda item: item[0])]
