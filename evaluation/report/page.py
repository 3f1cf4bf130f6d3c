"""A report as one HTML file without external resources. All text is escaped here, and nowhere else.

The page forbids itself, by its content security policy, to load anything, and to run any script but its own.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template

from evaluation.report import svg
from evaluation.report.content import Missing, Report, Section, Table, Video, VideoRow

_HERE = Path(__file__).parent


def to_html(report: Report) -> str:
    """The page."""
    script = (_HERE / "page.js").read_text()
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Template((_HERE / "page.html").read_text()).substitute(
        title=escape(report.title),
        allowed=allowed,
        script=script,
        short=_table(report.short, "short"),
        sentences=_paragraphs(report.sentences),
        lacking=_lacking(report),
        contents="".join(f'<li><a href="#{one.key}">{escape(one.title)}</a></li>' for one in report.sections),
        sections="".join(_section(one) for one in report.sections),
    )


def _section(section: Section) -> str:
    looks = {line.look: line.name for chart in section.charts for line in chart.lines}
    charts = "".join(svg.draw(chart, f"{section.key}-{number}") for number, chart in enumerate(section.charts))
    parts = (
        f"<p>{escape(section.text)}</p>" if section.text and not _is_empty(section) else "",
        "".join(f'<p class="note">{escape(note)}</p>' for note in section.notes),
        "".join(map(_missing, section.missing)),
        svg.legend(looks) if len(looks) > 1 else "",
        f'<div class="charts">{charts}</div>' if charts else "",
        "".join(_table(table) for table in section.tables if table.rows),
        "".join(map(_videos, section.videos)),
        _commands("Made by", section.commands),
    )
    return f'<section id="{section.key}"><h2>{escape(section.title)}</h2>{"".join(parts)}</section>'


def _is_empty(section: Section) -> bool:
    """Whether a section only says what is missing."""
    return not (section.tables or section.charts or section.videos)


def _lacking(report: Report) -> str:
    """What is missing, with links to the sections that say how to make it."""
    items = [
        f'<li><a href="#{section.key}">{escape(one.what)}</a></li>'
        for section in report.sections
        for one in section.missing
    ]
    if not items:
        return '<p class="whole">Nothing is missing: every section has its results.</p>'
    summary = f"<summary>Not in this report: {len(items)}</summary>"
    return f'<details class="lacking">{summary}<ul>{"".join(items)}</ul></details>'


def _missing(missing: Missing) -> str:
    commands = escape("\n".join(missing.commands))
    return f'<div class="missing"><p>Missing: {escape(missing.what)}. To make it:</p><pre>{commands}</pre></div>'


def _commands(title: str, commands: Sequence[str]) -> str:
    lines = escape("\n".join(dict.fromkeys(commands)))
    return f"<h3>{title}</h3><pre>{lines}</pre>" if commands else ""


def _paragraphs(lines: Iterable[str]) -> str:
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _table(table: Table, kind: str = "") -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    body = "".join(_row(row) for row in table.rows)
    inner = (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )
    if table.folded:
        return f"<details><summary>{escape(table.title)}</summary>{inner}</details>"
    return (f"<h3>{escape(table.title)}</h3>" if table.title else "") + inner


def _row(cells: Sequence[str]) -> str:
    first, *rest = cells
    return f'<tr><th scope="row">{escape(first)}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in rest) + "</tr>"


def _videos(row: VideoRow) -> str:
    return f'<h3>{escape(row.title)}</h3><div class="videos">{"".join(map(_video, row.videos))}</div>'


def _video(video: Video) -> str:
    mark = "" if video.right is None else '<small class="right">right</small>' if video.right else _WRONG
    caption = f"<figcaption>{escape(video.title)}{mark}</figcaption>"
    if video.fault:
        return f'<figure><div class="gone">{escape(video.fault)}</div>{caption}</figure>'
    places = f'poster="{escape(video.poster)}" src="{escape(video.source)}"'
    return f"<figure><video muted loop playsinline autoplay {places}></video>{caption}</figure>"


_WRONG = '<small class="wrong">wrong</small>'
