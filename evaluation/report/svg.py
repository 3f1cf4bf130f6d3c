"""Line charts as inline SVG: without scripts or external resources, in the page's colours, light and dark.

Looks repeat after ``LOOKS``: each has a colour (class ``s0``, ``s1``, ...), a dash pattern and a marker, so that lines
differ in greyscale, too.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape

from matplotlib.ticker import MaxNLocator

from evaluation.report.content import Chart, Line

LOOKS = 7
_WIDTH, _HEIGHT = 480, 236
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 10, 10, 40
_MARKS = (
    "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0",  # circle
    "M-3.2 -3.2h6.4v6.4h-6.4z",  # square
    "M0 -4.2l4 7h-8z",  # triangle
    "M0 -4.5l4.5 4.5l-4.5 4.5l-4.5 -4.5z",  # diamond
    "M0 4.2l4 -7h-8z",  # triangle, pointing down
    "M-1.3 -4h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z",  # plus
    "M-4 -4h8l-8 8h8z",  # hourglass
)


class _Scale:
    """From values to places of a chart, and the ticks of its axes."""

    def __init__(self, chart: Chart) -> None:
        shown = [line for line in chart.lines if not line.faint] or list(chart.lines)
        across = [x for line in shown for x in line.x]
        up = [y for line in shown for y in (*line.y, *line.low, *line.high)]
        up += [] if chart.level is None else [chart.level]
        self.left, self.right = _widened(min(across), max(across), 0.0)
        self.low, self.high = _widened(min(up), max(up), 0.06)

    def x(self, value: float) -> float:
        """Pixels from the left."""
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (value - self.left) / (self.right - self.left)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (self.high - value) / (self.high - self.low)

    def points(self, x: Sequence[float], y: Sequence[float]) -> str:
        """Points of a line or an area."""
        return " ".join(f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in zip(x, y, strict=True))


def draw(chart: Chart, key: str) -> str:
    """A figure with a title and a chart; ``key`` is unique on the page. Nothing is drawn of a chart without points."""
    about = f"<small>{escape(chart.about)}</small>" if chart.about else ""
    title = f"<figcaption>{escape(chart.title)}{about}</figcaption>"
    if not any(line.x for line in chart.lines):
        return f'<figure class="chart">{title}<p>There is no finite value.</p></figure>'
    scale = _Scale(chart)
    lines = "".join(_area(line, scale) for line in chart.lines) + "".join(_path(line, scale) for line in chart.lines)
    marks = "".join(_marks(line, scale) for line in chart.lines) if chart.marks else ""
    level = "" if chart.level is None else _across("level", scale.y(chart.level))
    box = f'x="{_LEFT}" y="{_TOP}" width="{_WIDTH - _LEFT - _RIGHT}" height="{_HEIGHT - _TOP - _BOTTOM}"'
    return (
        f'<figure class="chart">{title}<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(_in_words(chart))}"><clipPath id="{key}"><rect {box}/></clipPath>{_grid(chart, scale)}'
        f'<g clip-path="url(#{key})">{level}{lines}</g>{marks}</svg></figure>'
    )


def legend(names: Mapping[int, str]) -> str:
    """The names of lines by their looks."""
    return '<ul class="legend">' + "".join(_entry(names[look], look) for look in sorted(names)) + "</ul>"


def _entry(name: str, look: int) -> str:
    mark = f'<path class="mark s{look % LOOKS}" transform="translate(14 6)" d="{_MARKS[look % LOOKS]}"/>'
    line = f'<line class="line s{look % LOOKS}" x1="0" x2="28" y1="6" y2="6"/>'
    return (
        f'<li><svg viewBox="0 0 28 12" width="28" height="12" aria-hidden="true">{line}{mark}</svg>{escape(name)}</li>'
    )


def _widened(low: float, high: float, share: float) -> tuple[float, float]:
    """A range with some room around it; around a single value, too."""
    room = (high - low) * share or (0.0 if high > low else abs(high) * 0.1 or 1.0)
    return low - room, high + room


def _area(line: Line, scale: _Scale) -> str:
    if not line.low:
        return ""
    x, y = [*line.x, *reversed(line.x)], [*line.low, *reversed(line.high)]
    return f'<polygon class="area s{line.look % LOOKS}" points="{scale.points(x, y)}"/>'


def _path(line: Line, scale: _Scale) -> str:
    look = f"{'single' if line.faint else 'line'} s{line.look % LOOKS}"
    if len(line.y) == 1:  # a line of one point is invisible
        return f'<circle class="{look}" cx="{scale.x(line.x[0]):.1f}" cy="{scale.y(line.y[0]):.1f}" r="2.5"/>'
    return f'<polyline class="{look}" points="{scale.points(line.x, line.y)}"/>' if line.y else ""


def _marks(line: Line, scale: _Scale) -> str:
    """A marker at each point, which says its value."""
    drawn = []
    for number, (x, y) in enumerate(zip(line.x, line.y, strict=True)):
        ends = f" [{line.low[number]:.3g}, {line.high[number]:.3g}]" if line.low else ""
        title = f"<title>{escape(line.name)}, {x:g}: {y:.3g}{ends}</title>"
        place = f'transform="translate({scale.x(x):.1f} {scale.y(y):.1f})"'
        drawn.append(f'<path class="mark s{line.look % LOOKS}" {place} d="{_MARKS[line.look % LOOKS]}">{title}</path>')
    return "".join(drawn)


def _grid(chart: Chart, scale: _Scale) -> str:
    """Lines across with their values, the values of x, and its name."""
    base, drawn = _HEIGHT - _BOTTOM, []
    for value, label in _ticks(scale.low, scale.high, MaxNLocator(5)):
        drawn.append(_across("grid", scale.y(value)))
        drawn.append(f'<text x="{_LEFT - 7}" y="{scale.y(value) + 4:.1f}" text-anchor="end">{label}</text>')
    for value, label in _ticks(scale.left, scale.right, MaxNLocator(6, integer=True)):
        drawn.append(f'<text x="{scale.x(value):.1f}" y="{base + 17}" text-anchor="middle">{label}</text>')
    drawn.append(f'<text x="{(_LEFT + _WIDTH) / 2}" y="{base + 34}" text-anchor="middle">{escape(chart.x)}</text>')
    return "".join(drawn)


def _across(kind: str, y: float) -> str:
    return f'<line class="{kind}" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _ticks(low: float, high: float, locator: MaxNLocator) -> list[tuple[float, str]]:
    """Round values of a range with their labels, which have as many digits as it takes to tell them apart."""
    values = [float(value) for value in locator.tick_values(low, high)]
    step = values[1] - values[0]
    decimals = next(d for d in range(300) if all(abs(round(value, d) - value) < step / 100 for value in values))
    inside = [value for value in values if low <= value <= high]
    if decimals <= 5:
        return [(value, f"{round(value, decimals) + 0.0:,.{decimals}f}") for value in inside]
    digits = decimals + math.ceil(math.log10(max(map(abs, values))))
    return [(value, f"{round(value, decimals) + 0.0:.{max(1, digits)}g}") for value in inside]


def _in_words(chart: Chart) -> str:
    """A chart for those who do not see it."""
    ends = [
        f"{line.name}: {line.y[0]:.4g} at {line.x[0]:g}, {line.y[-1]:.4g} at {line.x[-1]:g}"
        for line in chart.lines
        if line.y and not line.faint
    ]
    return f"{chart.title} by {chart.x}. {'; '.join(ends)}"
