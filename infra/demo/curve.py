"""The chart of a loss by step."""

from collections.abc import Sequence

import numpy as np

from evaluation.report.content import Chart, Line
from evaluation.report.svg import draw
from training.validation.compare import smooth


def curve(title: str, points: Sequence[tuple[float, float]], window: int = 1) -> str:
    """A figure of (step, loss) pairs, at least one.

    With a ``window`` above 1, single values are faint and a moving mean over ``window`` values (at most a quarter of
    all) is drawn on top.
    """
    steps, values = (np.array(column, np.float64) for column in zip(*points, strict=True))
    window = max(1, min(window, len(points) // 4))
    smoothed = smooth(values, window)
    lines = [Line(title, 0, steps.tolist(), values.tolist(), faint=True)] if window > 1 else []
    lines.append(Line(title, 0, steps.tolist(), smoothed.tolist()))
    over = f"; mean over {window} steps" if window > 1 else ""
    about = f"{smoothed[window - 1]:.3f} at first, {smoothed[-1]:.3f} at last{over}"
    return draw(Chart(title, "step", tuple(lines), about), title.replace(" ", "-"))
