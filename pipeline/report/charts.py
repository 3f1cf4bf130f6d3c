"""Histograms and bars as inline SVG: without scripts or external resources, in the page's colours."""

from collections.abc import Mapping
from html import escape

import numpy as np

_WIDTH, _HEIGHT, _BINS = 280, 90, 28


def histogram(title: str, values: np.ndarray, unit: str = "") -> str:
    """A histogram of finite values, labelled with minimum, median and maximum."""
    counts, edges = np.histogram(values, bins=_BINS)
    step = _WIDTH / _BINS
    top = max(1, int(counts.max()))
    bars = []
    for index, count in enumerate(counts):
        tall = _HEIGHT * count / top
        said = f"{edges[index]:.4g} to {edges[index + 1]:.4g}: {count:,}"
        place = f'x="{index * step:.1f}" y="{_HEIGHT - tall:.1f}" width="{step - 1:.1f}" height="{tall:.1f}"'
        bars.append(f"<rect {place}><title>{said}</title></rect>")
    low, middle, high = (f"{value:.3g}" for value in np.quantile(values, (0, 0.5, 1)))
    ends = f"<span>{low}</span><span>median {middle}{f' {unit}' if unit else ''}</span><span>{high}</span>"
    picture = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(bars)}</svg>'
    return _figure(title, f'{picture}<div class="ends">{ends}</div>')


def bars(title: str, counts: Mapping[str, int], most: int = 8) -> str:
    """Named counts as horizontal bars, the greatest first."""
    shown = sorted(counts.items(), key=lambda item: -item[1])[:most]
    top = max((count for _, count in shown), default=1)
    rows = [
        f"<tr><td>{escape(name)}</td><td><i style='width:{100 * count / top:.1f}%'></i></td><td>{count:,}</td></tr>"
        for name, count in shown
    ]
    if len(counts) > most:
        rows.append(f"<tr><td colspan='3'>and {len(counts) - most} more</td></tr>")
    return _figure(title, f'<table class="bars">{"".join(rows)}</table>')


def _figure(title: str, inside: str) -> str:
    return f'<figure class="chart"><figcaption>{escape(title)}</figcaption>{inside}</figure>'
