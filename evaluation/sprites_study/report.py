"""Writes a study's report: report.md, report.html (one file with all of it), the figure, and sample videos."""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from string import Template

from base.storage.folder import Folder
from evaluation.sprites.controls import CONTROLS
from evaluation.sprites.evaluate import Row
from evaluation.sprites.pairs import Pairs
from evaluation.sprites.sampling import video_name
from evaluation.sprites.scores import score_controls
from evaluation.sprites.summary import summarise
from evaluation.sprites_study.arms import ARMS
from evaluation.sprites_study.figure6 import measured_figure
from evaluation.sprites_study.results import Results, read_results
from evaluation.sprites_study.run import read_scores, video_of
from evaluation.sprites_study.study import RunPlan, Study
from evaluation.sprites_study.tables import Section, sections
from models.find import find_candidates
from pipeline.sprites.files import Clip
from training.validation.figure import ratio_figure

_FIGURE = "figure6.png"
_SHOWN = 8  # pairs whose videos are shown


@dataclass(frozen=True)
class Shown:
    """A sample: who made it, its file, and whether it is right (None: ground truth)."""

    name: str
    file: Path
    right: bool | None


@dataclass(frozen=True)
class Content:
    """What a report shows, in any format. ``figure`` is a PNG, or empty; ``shown`` are samples by their prompt."""

    facts: list[str]
    sections: list[Section]
    figure: bytes
    shown: dict[str, list[Shown]]
    commands: Sequence[str]


def write_report(study: Study, commands: Sequence[str], report: Callable[[str], None]) -> Path | None:
    """Write the report of all finished runs; returns the HTML page. None if no run is finished yet."""
    results = read_results(study)
    if not results.arms:
        return None
    pairs, controls = Pairs.read(study.pairs), _controls(study, results, report)
    figure6 = measured_figure(study, results)
    content = Content(
        facts=_facts(study, results, pairs),
        sections=sections(results, controls, figure6.runs if figure6 else ()),
        figure=ratio_figure(figure6) if figure6 else b"",
        shown={clip.motion.caption: _samples(study, results, clip) for clip in _choose(pairs)},
        commands=commands,
    )
    out = Folder(str(study.out))
    if content.figure:
        out.write(_FIGURE, content.figure)
    out.write("report.md", _markdown(content, study.out).encode())
    out.write("report.html", _page(content).encode())
    plain = _plain(results, controls) | {"figure_6": asdict(figure6)["runs"] if figure6 else []}
    out.write("results.json", json.dumps(plain, indent=2).encode())
    return study.out / "report.html"


def _controls(study: Study, results: Results, report: Callable[[str], None]) -> list[Row]:
    plan = next(plan for plan in study.runs if plan not in results.missing)
    (model,) = find_candidates([str(study.folder(plan) / "train")])
    pairs, out = Pairs.read(study.pairs), Folder(str(study.out / "controls"))
    found = score_controls(pairs, model.facts.video_frames, model.facts.default_fps, 0, out, report)
    return [Row(name, None, summarise(found[name])) for name in CONTROLS]


def _choose(pairs: Pairs) -> list[Clip]:
    """The pairs that are shown: all prompts of the first images that have different kinds of motion."""
    chosen: list[Clip] = []
    kinds: set[str] = set()
    for scene in dict.fromkeys(clip.scene_number for clip in pairs.clips):
        some = [clip for clip in pairs.clips if clip.scene_number == scene]
        if {clip.motion.kind for clip in some} - kinds or len(kinds) == len(set(pairs.world.kinds)):
            chosen += some
            kinds |= {clip.motion.kind for clip in some}
        if len(chosen) >= _SHOWN:
            break
    return chosen[:_SHOWN]


def _samples(study: Study, results: Results, clip: Clip) -> list[Shown]:
    """The videos of a pair: ground truth, and each arm's with its first seed."""
    found = [Shown("ground truth", study.pairs / "videos" / video_name(clip.number), None)]
    for name, arm in results.arms.items():
        plan = RunPlan(name, min(run.seed for run in arm.runs))
        right = {one.score.clip: one.score.right for one in read_scores(study, plan)}[clip.number]
        found.append(Shown(name, video_of(study, plan, video_name(clip.number)), right))
    return found


def _facts(study: Study, results: Results, pairs: Pairs) -> list[str]:
    size, world = study.size, study.size.world
    runs = [run for arm in results.arms.values() for run in arm.runs]
    spent = sum(run.train_seconds + run.evaluate_seconds for run in runs)
    lines = [
        f"{len(runs)} runs: {len(results.arms)} arms, seeds {' '.join(map(str, study.seeds))}; size {size.name}",
        f"World: {world.height} x {world.width}, {world.fewest} to {world.most} shapes of {world.share:.1%} of the "
        f"frame, {world.distractors} of them like another; motions: {', '.join(dict.fromkeys(world.kinds))}",
        f"Training: {size.clips:,} clips, {size.train.steps:,} steps of {size.train.batch} clips",
        f"Held out: {len(pairs.clips)} prompts for {size.images} images",
        f"Time of all runs together: {spent / 3600:.2f} hours",
    ]
    if results.missing:
        lines.append(f"Not finished: {', '.join(plan.name for plan in results.missing)}")
    return lines


def _markdown(content: Content, out: Path) -> str:
    lines = ["# Moving sprites: what the loss weighting does", "", *(f"- {fact}" for fact in content.facts)]
    for section in content.sections:
        lines += ["", f"## {section.title}", "", section.text, "", _line(section.columns)]
        lines += [_line(("---",) * len(section.columns)), *map(_line, section.rows)]
    lines += ["", "## Figure 6", "", _ABOUT_FIGURE, "", f"![Figure 6]({_FIGURE})"] if content.figure else []
    lines += ["", "## Sample videos", ""]
    for prompt, samples in content.shown.items():
        links = ", ".join(f"[{one.name}]({one.file.relative_to(out).as_posix()}){_mark(one.right)}" for one in samples)
        lines.append(f"- {prompt}: {links}")
    return "\n".join([*lines, "", "## Commands", "", *(f"    {command}" for command in content.commands), ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _mark(right: bool | None) -> str:
    return "" if right is None else " (right)" if right else " (wrong)"


_ABOUT_FIGURE = (
    "Mean error where something moves, divided by the mean error overall, by timestep; errors are means over an arm's "
    "seeds, intervals are over clips."
)


def _page(content: Content) -> str:
    template = Template((Path(__file__).parent / "page.html").read_text())
    figure = base64.b64encode(content.figure).decode()
    return template.substitute(
        facts="".join(f"<li>{escape(fact)}</li>" for fact in content.facts),
        tables="".join(map(_table, content.sections)),
        about_figure=escape(_ABOUT_FIGURE) if figure else "Nothing in the held-out clips moves enough.",
        figure=f'<img alt="Figure 6" src="data:image/png;base64,{figure}">' if figure else "",
        samples="".join(_row(prompt, samples) for prompt, samples in content.shown.items()),
        commands=escape("\n".join(content.commands)),
        arms="".join(f"<li><b>{escape(name)}</b>: {escape(arm.about)}</li>" for name, arm in ARMS.items()),
    )


def _table(section: Section) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in section.columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in section.rows)
    return (
        f"<h2>{escape(section.title)}</h2><p>{escape(section.text)}</p><div class='scroll'><table><thead><tr>{head}"
        f"</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(prompt: str, samples: Sequence[Shown]) -> str:
    videos = "".join(
        f'<figure><video muted loop playsinline autoplay src="data:video/mp4;base64,'
        f'{base64.b64encode(one.file.read_bytes()).decode()}"></video><figcaption>{escape(one.name)}'
        f"{_mark(one.right)}</figcaption></figure>"
        for one in samples
        if one.file.is_file()
    )
    return f"<h3>{escape(prompt)}</h3><div class='videos'>{videos}</div>"


def _plain(results: Results, controls: Sequence[Row]) -> dict[str, object]:
    """The results as plain JSON."""
    return {
        "controls": {row.name: asdict(row.summary) for row in controls},
        "arms": {
            name: {
                "summary": asdict(arm.summary),
                "right_by_seed": {str(seed): value for seed, value in arm.right_by_seed.items()},
                "runs": [asdict(run) for run in arm.runs],
            }
            for name, arm in results.arms.items()
        },
        "minus_none": {name: asdict(one) for name, one in results.differences.items()},
        "motif_better": {one.arm.name: asdict(one.wins) | {"pairs": one.pairs} for one in results.comparisons},
        "missing": [plan.name for plan in results.missing],
    }
