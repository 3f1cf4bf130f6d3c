"""The page of a demo: one self-contained HTML file with its videos."""

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from safetensors import safe_open

from base.storage.folder import Folder
from dataset.catalog import Catalog
from infra.demo.curve import curve
from infra.demo.samples import Sample
from infra.demo.settings import Demo
from infra.toy import MODEL, Story, read_story
from media.picture import read_image
from models.folder import network_files
from models.run_folder import CONFIG
from pipeline.curation.clips import ClipDecoder
from pipeline.report import pictures
from pipeline.report.choose import Shown, choose
from training.run.tracking import METRICS, read_metrics

_CLIPS = 4
_WINDOW = 25  # steps over which the run's loss curve is smoothed

Scenes = Sequence[Sequence[Sample]]


@dataclass(frozen=True)
class Made:
    """Videos of the same scenes and prompts, by the toy model and by the demo's run."""

    toy: Scenes
    run: Scenes


def count_right(scenes: Scenes) -> tuple[int, int]:
    """The number of videos that move as prompted, and of all."""
    samples = [sample for row in scenes for sample in row]
    return sum(sample.right for sample in samples), len(samples)


def write_page(demo: Demo, made: Made) -> None:
    """Write the page of a demo whose steps are all done."""
    story, steps = read_story(), read_metrics(Folder(str(demo.run)))
    template = Template((Path(__file__).parent / "page.html").read_text())
    page = template.substitute(
        scenes="".join(_scene(demo, *rows) for rows in zip(made.run, made.toy, strict=True)),
        right_run=_right(made.run),
        right_toy=_right(made.toy),
        clips=_clips(demo),
        inspected=escape(demo.inspected.relative_to(demo.out).as_posix()),
        curves=curve("The toy", story.loss)
        + curve("This run", [(line["step"] + 1, line["loss"]) for line in steps], _WINDOW),
        runs=_runs(demo, story, steps),
        size=f"{_count_parameters() / 1e6:.1f} million",
        commands=escape("\n".join(_commands(demo, made.run, len(steps)))),
    )
    Folder(str(demo.page.parent)).write(demo.page.name, page.encode())


def _count_parameters() -> int:
    _, weights = network_files(MODEL)
    with safe_open(MODEL / weights, framework="numpy") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - not a mapping


def _right(scenes: Scenes) -> str:
    right, of = count_right(scenes)
    return f"{right} of {of}"


def _scene(demo: Demo, run: Sequence[Sample], toy: Sequence[Sample]) -> str:
    """A first frame next to the videos of both models."""
    first = pictures.poster(read_image(demo.samples / "run" / run[0].image))
    rows = "".join(
        f"<h3>{words}</h3><div class='videos'>{''.join(_sample(demo.samples / name, one) for one in row)}</div>"
        for words, name, row in (("after this run", "run", run), ("before this run", "toy", toy))
    )
    return (
        f'<article class="scene"><figure class="first"><img src="{first}" alt="the first frame">'
        f"<figcaption>the picture given</figcaption></figure><div>{rows}</div></article>"
    )


def _sample(folder: Path, sample: Sample) -> str:
    path = folder / sample.file
    source = f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"
    moved = f"moves {sample.moved}" if sample.moved else "stands still"
    mark = "right" if sample.right else "wrong"
    return (
        f'<figure><video muted loop playsinline autoplay poster="{pictures.poster(read_image(path))}" src="{source}">'
        f'</video><figcaption>{escape(sample.prompt)}<small class="{mark}">{moved}</small></figcaption></figure>'
    )


def _clips(demo: Demo) -> str:
    dataset = Folder(str(demo.dataset))
    with ClipDecoder(Catalog.require(dataset)) as decoder:
        return "".join(_clip(one, decoder) for one in choose(dataset, "heatmaps", _CLIPS, demo.seed, ()))


def _clip(one: Shown, decoder: ClipDecoder) -> str:
    """A training clip, plain and with its heatmap."""
    frames = pictures.shrink(decoder.frames(one.clip))
    assert one.heatmap is not None
    videos = "".join(
        f'<video muted loop playsinline autoplay poster="{pictures.poster(shown[0])}" '
        f'src="{pictures.video(shown, one.clip["fps"])}"></video>'
        for shown in (frames, pictures.overlay(frames, one.heatmap))
    )
    return f'<figure class="clip"><div>{videos}</div><figcaption>{escape(one.clip["caption"])}</figcaption></figure>'


def _runs(demo: Demo, story: Story, steps: Sequence[dict[str, Any]]) -> str:
    """Table rows of the toy's training and of this run."""
    run = json.loads((demo.run / CONFIG).read_text())
    ended = datetime.fromtimestamp((demo.run / METRICS).stat().st_mtime)
    clips = sum(data["clips"] for data in run["data"].values())
    seconds = sum(line["seconds"] for line in steps)
    toy = (
        "the toy, which comes with motif",
        story.date,
        story.steps,
        story.clips,
        f"{story.hours:.1f} h",
        story.command,
    )
    this = ("this run, from the toy", f"{ended:%Y-%m-%d %H:%M}", len(steps), clips, f"{seconds:.0f} s", "motif demo")
    return "".join(_row(*facts) for facts in (toy, this))


def _row(name: str, *facts: object) -> str:
    words = [f"{fact:,}" if isinstance(fact, int) else str(fact) for fact in facts]
    cells = "".join(f"<td>{escape(fact)}</td>" for fact in words)
    return f"<tr><th>{escape(name)}</th>{cells}</tr>"


def _commands(demo: Demo, made: Scenes, steps: int) -> list[str]:
    first = made[0][0]
    image, name = demo.samples / "run" / first.image, first.prompt.removesuffix(f" moves {first.way}")
    return [
        f"motif serve {demo.run}",
        f'motif sample {demo.run} --image {image} --prompt "{name} moves down and left" --out video.mp4',
        f"motif train --config {demo.run / CONFIG} --data {demo.dataset} --out {demo.run} --steps {steps + 500}",
        "motif preprocess laptop --manifest FOLDER_OF_VIDEOS --out DATASET",
    ]
