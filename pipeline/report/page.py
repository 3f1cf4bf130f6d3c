"""Writes the page of a report."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pyarrow as pa

from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.rejects import read_rejects
from pipeline.curation.clips import ClipDecoder
from pipeline.curation.explain import explain_artifacts
from pipeline.curation.stats import Stats, read_stats
from pipeline.report import charts, pictures
from pipeline.report.choose import Shown, add_heatmaps, choose, read_scores
from pipeline.run.records import read_records
from pipeline.video.errors import VideoError

_MOST_REJECTS, _MOST_RUNS = 200, 20
_UNITS = {"mean_intensity": "px a frame"}


@dataclass(frozen=True)
class ReportOptions:
    """Report options. ``where``: rules a clip must meet, such as "moving_share>=0.1"; ``heatmaps``: the artifact."""

    num: int = 24
    seed: int = 0
    where: tuple[str, ...] = ()
    heatmaps: str | None = None


def write_report(dataset: Folder, out: Path, options: ReportOptions) -> Stats:
    """Write the page of a dataset as one self-contained HTML file; returns its statistics.

    Clips are decoded from their sources; the card of a clip without source says so.
    """
    catalog = Catalog.require(dataset)
    stats = read_stats(dataset)
    found = _heatmaps(catalog, stats, options)
    heatmaps = found[0] if found else None
    scores = read_scores(dataset, heatmaps, options.where)
    shown = choose(dataset, heatmaps, options.num, options.seed, options.where, scores)
    rejects = read_rejects(dataset)
    add_heatmaps(dataset, shown, found[1:])
    names = sorted({name for one in shown for name in one.scores})
    with ClipDecoder(catalog) as decoder:
        cards = "".join(_card(one, decoder) for one in shown)
    template = Template((Path(__file__).parent / "page.html").read_text())
    page = template.substitute(
        title=escape(dataset.uri.rstrip("/").rsplit("/", 1)[-1]),
        subtitle=f"{escape(dataset.uri)} · {stats.frames} frames of {stats.height} x {stats.width}",
        facts=_facts(stats),
        artifacts=_artifacts(stats, catalog),
        settings=escape("\n".join(explain_artifacts(dataset))),
        charts=_charts(stats, scores),
        shown=len(shown),
        total=f"{stats.clips:,}",
        sorts="".join(f'<option value="{_key(name)}">{escape(name)}</option>' for name in [*names, "fps", "stride"]),
        compared=_compared(shown),
        clips=cards or "<p>There are no clips.</p>",
        rejected=f"{rejects.num_rows:,}",
        rejects=_rejects(stats, rejects),
        runs=_rows(_run(record) for record in reversed(read_records(dataset)[-_MOST_RUNS:])),
    )
    Folder(str(out.parent)).write(out.name, page.encode())
    return stats


def _heatmaps(catalog: Catalog, stats: Stats, options: ReportOptions) -> list[str]:
    """The heatmaps to show; of the first, a flow's if there is one, scores are shown as well."""
    if options.heatmaps:
        return [catalog.pick("heatmaps", options.heatmaps)]
    found = [name for name, artifact in catalog.artifacts.items() if artifact.kind == "heatmaps"]
    found = [name for name in found if stats.artifacts[name].rows and "heatmap" in catalog.artifacts[name].columns]
    return sorted(found, key=lambda name: "intensity" not in catalog.artifacts[name].columns)


def _compared(shown: Sequence[Shown]) -> str:
    names = sorted({name for one in shown for name in one.others})
    return (f", beside it {' and '.join(map(escape, names))}" if names else "") + (
        ", below it the one without the camera subtracted" if any(one.with_camera is not None for one in shown) else ""
    )


def _rows(rows: Iterable[Iterable[object]]) -> str:
    return "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)


def _facts(stats: Stats) -> str:
    size = sum(artifact.megabytes for artifact in stats.artifacts.values())
    facts = {
        "clips": f"{stats.clips:,}",
        "videos": f"{stats.videos:,}",
        "captions": f"{stats.captions:,}",
        "shown in all": f"{stats.hours:.1f} h" if stats.hours >= 1 else f"{stats.hours * 60:.1f} min",
        "features": f"{size / 1e3:.1f} GB" if size >= 1e3 else f"{size:.1f} MB",
        "rejects": f"{sum(stats.rejects.values()):,}",
    }
    return "".join(f"<li><b>{value}</b>{name}</li>" for name, value in facts.items())


def _artifacts(stats: Stats, catalog: Catalog) -> str:
    rows = []
    for name, artifact in stats.artifacts.items():
        columns = [_column(column, facts) for column, facts in catalog.artifacts[name].columns.items()]
        size = f"{artifact.megabytes:,.1f} MB"
        facts = (f"{artifact.rows:,}", f"{artifact.lacking:,}", size, ", ".join(columns), artifact.fingerprint)
        rows.append((name, artifact.kind, *facts))
    return _rows(rows)


def _column(name: str, facts: Mapping[str, Any]) -> str:
    shape = " x ".join(map(str, facts.get("shape", ())))
    return f"{name} {facts['dtype']}" + (f" [{shape}]" if shape else "")


def _charts(stats: Stats, scores: pa.Table) -> str:
    drawn = []
    for name in scores.column_names:
        if name in stats.scores:
            drawn.append(charts.histogram(name, np.asarray(scores.column(name)), _UNITS.get(name, "")))
    for title, counts in (("stride", stats.strides), ("codec", stats.codecs), ("decoder", stats.decoders)):
        drawn.append(charts.bars(title, counts))
    if stats.rejects:
        drawn.append(charts.bars("rejects", stats.rejects))
    return "".join(drawn)


def _card(one: Shown, decoder: ClipDecoder) -> str:
    clip = one.clip
    listed_facts = {name: f"{value:.3f}" for name, value in one.scores.items()}
    listed_facts |= {
        "frames": f"from {clip['first']}, every {clip['stride']}",
        "fps": f"{clip['fps']:.3g}",
        "source": clip["uri"],
    }
    keys = {**one.scores, "fps": clip["fps"], "stride": clip["stride"]}
    data = "".join(f' data-{_key(name)}="{value:.6g}"' for name, value in keys.items())
    listed = "".join(
        f'<dt>{escape(name)}</dt><dd title="{escape(value)}">{escape(value)}</dd>'
        for name, value in listed_facts.items()
    )
    caption = escape(clip["caption"]) or "<i>no caption</i>"
    kind = "clip wide" if one.others else "clip"
    return (
        f'<article class="{kind}" title="{clip["clip_id"]}"{data}><div class="pictures">{_pictures(one, decoder)}</div>'
        f'<div class="told"><p class="caption">{caption}</p><dl>{listed}</dl></div></article>'
    )


def _key(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _pictures(one: Shown, decoder: ClipDecoder) -> str:
    try:
        frames = decoder.frames(one.clip)
    except VideoError as error:
        return f'<div class="gone">The video cannot be shown: {escape(error.kind)}: {escape(error.message)}</div>'
    frames = pictures.shrink(frames)
    fps = min(30.0, max(1.0, one.clip["fps"]))
    # With camera compensation, the uncompensated heatmap comes last, for comparison.
    heatmaps = {"heatmap": one.heatmap, **one.others, "heatmap, camera not subtracted": one.with_camera}
    videos = {"clip": frames} | {
        name: pictures.overlay(frames, values) for name, values in heatmaps.items() if values is not None
    }
    return "".join(
        f'<video muted loop playsinline preload="none" title="{name}" poster="{pictures.poster(shown[0])}" '
        f'src="{pictures.video(shown, fps)}"></video>'
        for name, shown in videos.items()
    )


def _rejects(stats: Stats, rejects: pa.Table) -> str:
    if not rejects.num_rows:
        return '<p class="note">None: every clip of the manifest was written.</p>'
    reasons = charts.bars("reasons", stats.rejects, most=20)
    rows = [
        (row["outcome"], row["stage"], row["error_class"], row["message"], row["uri"], row["attempts"])
        for row in rejects.slice(0, _MOST_REJECTS).to_pylist()
    ]
    head = "".join(f"<th>{name}</th>" for name in ("outcome", "stage", "class", "message", "source", "tries"))
    note = f"<p class='note'>The first {_MOST_REJECTS}.</p>" if rejects.num_rows > _MOST_REJECTS else ""
    return (
        f'{reasons}<details open><summary>Each with its reason</summary>{note}<div class="scroll"><table class="rows">'
        f"<thead><tr>{head}</tr></thead><tbody>{_rows(rows)}</tbody></table></div></details>"
    )


def _run(record: Mapping[str, Any]) -> list[object]:
    numbers = [record.get(name, "") for name in ("planned", "written", "filtered", "failed", "reused")]
    seconds = f"{record['seconds']:.0f}" if "seconds" in record else ""
    return [record.get("run", ""), *numbers, seconds, "yes" if record.get("complete") else "no"]
