"""Charts hold their values: read back by their labels, as an eye reads them."""

import numpy as np
import pytest

from evaluation.report.content import Chart, Line
from evaluation.report.svg import draw, legend
from tests.evaluation.report.reading import Drawn


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e6])
def test_points_lie_where_the_labels_say(scale: float) -> None:
    x, y = list(range(1, 41)), (scale * np.sin(np.arange(40))).tolist()
    low, high = [value - scale for value in y], [value + scale for value in y]
    drawn = Drawn(draw(Chart("loss", "step", (Line("a", 0, x, y, low, high), Line("b", 1, x, y[::-1]))), "k"))
    first, second = drawn.lines["line"]
    tolerance = 0.02 * scale
    assert np.allclose(first, np.stack([x, y], 1), atol=[0.1, tolerance])
    assert np.allclose(second[:, 1], y[::-1], atol=tolerance)
    (area,) = drawn.areas
    assert np.allclose(area[:40, 1], low, atol=tolerance)
    assert np.allclose(area[40:, 1], high[::-1], atol=tolerance)


def test_single_values_do_not_set_the_range() -> None:
    """A spike leaves the chart; the means stay readable."""
    x = [float(step) for step in range(10)]
    spike = [1.0, 1000.0, *x[2:]]
    drawn = Drawn(draw(Chart("loss", "step", (Line("a", 0, x, spike, faint=True), Line("a", 0, x, x))), "k"))
    (line,) = drawn.lines["line"]
    assert np.allclose(line[:, 1], x, atol=0.05)


def test_labels_of_a_narrow_range_differ() -> None:
    x, y = [1.0, 2.0, 3.0], [0.98765401, 0.98765402, 0.98765404]
    (line,) = Drawn(draw(Chart("loss", "step", (Line("a", 0, x, y),)), "k")).lines["line"]
    assert np.allclose(line[:, 1], y, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("x", "y"), [([3.0], [0.5]), ([1.0, 2.0], [0.25, 0.25]), ([0.0, 1.0], [0.0, 0.0])])
def test_lines_without_extent_are_drawn(x: list[float], y: list[float]) -> None:
    text = draw(Chart("t", "step", (Line("a", 0, x, y),)), "k")
    assert "nan" not in text
    assert ("<circle" in text) == (len(x) == 1)
    assert "There is no finite value" in draw(Chart("t", "step", ()), "k")


def test_names_are_escaped_and_looks_repeat() -> None:
    name = "<b onclick=x>&"
    for text in (
        legend(dict.fromkeys(range(9), name)),
        draw(Chart(name, name, (Line(name, 8, [1, 2], [1, 2]),), name, marks=True), "k"),
    ):
        assert "<b" not in text
        assert "&lt;b onclick=x&gt;&amp;" in text
        assert "s8" not in text
