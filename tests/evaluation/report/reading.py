"""Reads a page as a browser would take it apart: tables, charts, videos and text, without the code that wrote it."""

import base64
import io
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from xml.etree import ElementTree

import av
import numpy as np


@dataclass
class Part:
    """A section: the text of its headings and paragraphs, its tables by rows of cells, commands, charts, videos."""

    texts: list[str] = field(default_factory=list)
    tables: list[list[list[str]]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    charts: dict[str, "Drawn"] = field(default_factory=dict)
    videos: list[tuple[str, str]] = field(default_factory=list)
    """Captions with the places that they load."""

    def row(self, name: str) -> list[str]:
        """The cells after a row's name, in the first table that has it."""
        return next(row[1:] for table in self.tables for row in table if row[0] == name)


class Page(HTMLParser):
    """A page. ``parts`` are its sections by their ids; what is before them is under ""."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.places: list[str] = []
        self.parts: dict[str, Part] = {"": Part()}
        self._part, self._open, self._text, self._source = self.parts[""], "", "", ""
        self.feed(text)
        for name, part in self.parts.items():
            section = re.search(rf'<section id="{name}">.*?</section>', text, re.DOTALL) if name else None
            for figure in re.findall(r'<figure class="chart">.*?</figure>', section[0] if section else "", re.DOTALL):
                drawn = Drawn(figure)
                part.charts[drawn.title] = drawn

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.attributes |= given.keys()
        self.places += [given[name] for name in ("src", "href", "poster") if name in given]
        if tag == "section":
            self._part = self.parts.setdefault(given["id"], Part())
        elif tag == "table":
            self._part.tables.append([])
        elif tag == "tr":
            self._part.tables[-1].append([])
        elif tag == "video":
            self._source = given["src"]
        if tag in ("th", "td", "h1", "h2", "h3", "p", "pre", "figcaption", "li", "div"):
            self._open, self._text = tag, ""

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag != self._open:
            return
        if tag in ("th", "td"):
            self._part.tables[-1][-1].append(self._text)
        elif tag == "pre":
            self._part.commands += self._text.splitlines()
        elif tag == "figcaption" and self._source:
            self._part.videos.append((self._text, self._source))
            self._source = ""
        else:
            self._part.texts.append(self._text)
        self._open = ""


class Drawn:
    """A chart: the points of its lines in the units of its axes, as its labels give them."""

    def __init__(self, figure: str) -> None:
        root = ElementTree.fromstring(figure)
        title = root.find("figcaption")
        assert title is not None
        self.title = title.text or ""
        texts = [(float(t.attrib["x"]), float(t.attrib["y"]), t) for t in root.iter("text")]
        up = [(y - 4, _number(t.text)) for _, y, t in texts if t.attrib["text-anchor"] == "end"]
        base = max(y for _, y, _ in texts) - 17
        across = [(x, _number(t.text)) for x, y, t in texts if y == base]
        self._x, self._y = _line(across), _line(up)
        self.lines = {
            kind: [
                self._points(line.attrib["points"]) for line in root.iter("polyline") if kind in line.attrib["class"]
            ]
            for kind in ("line", "single")
        }
        self.areas = [self._points(area.attrib["points"]) for area in root.iter("polygon")]
        self.marks = [mark.text or "" for mark in root.iter("title")]

    def _points(self, text: str) -> np.ndarray:
        pixels = np.array([[float(value) for value in point.split(",")] for point in text.split()])
        return np.stack([self._x[0] * pixels[:, 0] + self._x[1], self._y[0] * pixels[:, 1] + self._y[1]], axis=1)


def _line(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Slope and offset of the line through labels at their pixels; two at least, and all must lie on it."""
    pixels, values = np.array(sorted(set(points))).T
    slope, offset = np.polyfit(pixels, values, 1)
    assert np.allclose(slope * pixels + offset, values, atol=0.01 * np.ptp(values))
    return float(slope), float(offset)


def _number(text: str | None) -> float:
    return float((text or "").replace(",", ""))


def decoded(source: str) -> tuple[str, np.ndarray, float]:
    """Codec, frames ``t h w 3`` and rate of an embedded video."""
    kind, _, data = source.partition(";base64,")
    assert kind == "data:video/mp4"
    with av.open(io.BytesIO(base64.b64decode(data))) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return stream.codec_context.name, np.stack(frames), float(stream.average_rate or 0)
