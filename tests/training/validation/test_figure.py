"""The picture: it is one, it shows every run, and it touches no global state."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.validation import compare, figure
from training.validation.figure import Look, ratio_figure
from training.validation.options import Options
from training.validation.ratio import ClipErrors, compare_ratios
from training.validation.validate import Validation

STEPS = (100, 500, 900)


def validation(names: Sequence[str]) -> Validation:
    rng = np.random.default_rng(0)
    runs = []
    for number, name in enumerate(names):
        inside = rng.lognormal(0.5 - 0.2 * number, 0.2, (12, 3)) * 10
        cells_inside, cells = np.full(12, 10), np.full(12, 100)
        errors = ClipErrors(tuple(map(str, range(12))), STEPS, inside, np.full((12, 3), 100.0), cells_inside, cells)
        runs.append((name, errors))
    found = compare_ratios(runs, 50, 0)
    return Validation(found, (1,) * len(names), "v", 12, 3, "held", Options(timesteps=STEPS), 1.0)


def pixels(found: Validation) -> np.ndarray:
    picture = Image.open(io.BytesIO(ratio_figure(found)))
    assert picture.format == "PNG"
    return np.asarray(picture.convert("RGB")).astype(int)


def share(picture: np.ndarray, colour: str) -> float:
    """The share of pixels of (nearly) that colour."""
    wanted = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])
    return float((abs(picture - wanted).max(axis=-1) < 6).mean())


def test_every_run_is_drawn_in_its_colour() -> None:
    one, three = pixels(validation(["plain"])), pixels(validation(["plain", "motif", "other"]))
    for number in range(3):
        colour = Look.of(number).colour
        assert share(three, colour) > 1e-3
        assert (share(one, colour) > 1e-3) == (number == 0)
    # Differences have a panel of their own.
    assert three.shape[0] > one.shape[0]
    assert three.shape[1] == one.shape[1] > 1000


def test_looks_are_told_apart_by_colour_or_marker() -> None:
    assert len({Look.of(number) for number in range(20)}) == 20


@pytest.mark.parametrize("name", ["a" * 200, "$\\frac$_{", "läufe/süd"])
def test_any_name_can_be_drawn(name: str) -> None:
    assert pixels(validation([name, "other"])).shape[2] == 3


def test_no_global_state() -> None:
    """A figure that pyplot knows stays in memory, and drawing in a thread would meddle with others."""
    for module in (figure, compare):
        assert "pyplot" not in Path(str(module.__file__)).read_text()
