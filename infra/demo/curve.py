"""A loss by step as inline SVG: without scripts or external resources, in the page's colours."""

from collections.abc import Sequence
from html import escape

import numpy as np

from training.validation.compare import smooth

_WIDTH, _HEIGHT, _LEFT, _BELOW = 560, 190, 46, 24


def curve(title: str, points: Sequence[tuple[float, float]], window: int = 1) -> str:
    """A figure of (step, loss) pairs, at least one.

    With a ``window`` above 1, single values are faint and a moving mean over ``window`` values (at most a quarter of
    all) is drawn on top.
    """
    steps, values = (np.array(column, np.float64) for column in zip(*points, strict=True))
    window = max(1, min(window, len(points) // 4))
    top = 1.05 * float(values.max()) or 1.0
    last = max(float(steps[-1]), 1.0)
    x = _LEFT + (_WIDTH - _LEFT - 4) * steps / last
    smoothed = smooth(values, window)
    lines = "".join(
        f'<polyline class="{look}" points="{_points(x, (_HEIGHT - _BELOW) * (1 - heights / top))}"/>'
        for look, heights in (("single", values), ("mean", smoothed))[window == 1 :]
    )
    over = f"; mean over {window} steps" if window > 1 else ""
    said = f"{smoothed[window - 1]:.3f} at first, {smoothed[-1]:.3f} at last{over}"
    return (
        f'<figure class="curve"><figcaption>{escape(title)}<small>{said}</small></figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}: {said}">'
        f"{_grid(top, last)}{lines}</svg></figure>"
    )


def _points(x: np.ndarray, y: np.ndarray) -> str:
    return " ".join(f"{across:.1f},{down:.1f}" for across, down in zip(x, y, strict=True))


def _grid(top: float, last: float) -> str:
    """Three grid lines labelled with their loss, and the first and last step."""
    floor = _HEIGHT - _BELOW
    marks = [(floor * (1 - share), share * top) for share in (0.0, 0.5, 1 / 1.05)]
    drawn = [
        f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.2f}</text>'
        for y, value in marks
    ]
    ends = ((_LEFT, "start", "step 0"), (_WIDTH, "end", f"{last:,.0f}"))
    drawn += [f'<text x="{x}" y="{_HEIGHT - 6}" text-anchor="{side}">{text}</text>' for x, side, text in ends]
    return "".join(drawn)
