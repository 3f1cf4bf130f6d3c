"""What a report says, as plain text and numbers. Nothing here is HTML: the page escapes all of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Table:
    """A table; the first column names the rows. ``folded``: shown once a reader opens it."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Line:
    """A line of a chart, or with ``low`` and ``high`` a band around it. ``look`` numbers its colour and marker.

    A faint line is one of single values, behind its own mean; it does not set the range of the chart.
    """

    name: str
    look: int
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    faint: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart of lines over the same axis. ``level`` is a dashed line for comparison; with ``marks``, points show."""

    title: str
    x: str
    lines: tuple[Line, ...]
    about: str = ""
    level: float | None = None
    marks: bool = False


@dataclass(frozen=True)
class Video:
    """A video as data URIs, or a sentence on why it cannot be shown. ``right``: whether it shows what it should."""

    title: str
    source: str = ""
    poster: str = ""
    fault: str = ""
    right: bool | None = None


@dataclass(frozen=True)
class VideoRow:
    """Videos side by side, all of the same picture and prompt."""

    title: str
    videos: tuple[Video, ...]


@dataclass(frozen=True)
class Missing:
    """Something that the report does not have, and the commands that make it."""

    what: str
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """A part of the report. ``commands`` made what it shows; ``values`` are its numbers, as plain JSON."""

    key: str
    title: str
    text: str = ""
    notes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    videos: tuple[VideoRow, ...] = ()
    missing: tuple[Missing, ...] = ()
    commands: tuple[str, ...] = ()
    values: Any = None


@dataclass(frozen=True)
class Report:
    """A report. ``short`` is its summary: a column for each run. ``sentences`` follow it."""

    title: str
    runs: tuple[str, ...]
    short: Table
    sentences: tuple[str, ...] = ()
    sections: tuple[Section, ...] = field(default=())

    @property
    def missing(self) -> list[Missing]:
        """All that the report does not have."""
        return [one for section in self.sections for one in section.missing]

    def to_json(self) -> dict[str, Any]:
        """The numbers of all sections, and what is missing, as plain JSON."""
        missing = [{"what": one.what, "commands": list(one.commands)} for one in self.missing]
        values = {section.key: section.values for section in self.sections if section.values is not None}
        return {"title": self.title, "runs": list(self.runs), **values, "missing": missing}
