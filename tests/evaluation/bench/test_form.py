"""How a model of another size, length or rate comes to the published form."""

from dataclasses import replace

import numpy as np
import pytest

from base.errors import InputError
from evaluation.bench.form import Form, plan_making
from models.card import ModelFacts
from tests.models.facts import FACTS

WIDE: ModelFacts = replace(FACTS, frames=16, height=40, width=64, fps=(4.0, 30.0))


def test_a_model_that_fits_gives_its_frames_as_they_are() -> None:
    making = plan_making(WIDE, Form(), "model")
    assert (making.cells, making.fps, making.frames, making.taken) == (40, 8, 16, tuple(range(16)))
    frames = np.random.default_rng(0).integers(0, 256, (16, 320, 320, 3), np.uint8)
    assert np.array_equal(making.finish(frames), frames)


@pytest.mark.parametrize(
    ("fps", "length", "taken"),
    [
        ((4.0, 4.0), 8, tuple(number // 2 for number in range(16))),  # each frame twice
        ((16.0, 16.0), 31, tuple(range(0, 31, 2))),  # every second frame
        ((12.0, 24.0), 23, (0, 1, 3, 4, 6, 7, 9, 10, 12, 13, 15, 16, 18, 19, 21, 22)),
    ],
)
def test_motion_keeps_its_speed(fps: tuple[float, float], length: int, taken: tuple[int, ...]) -> None:
    """The frame that is taken is the newest at its time."""
    making = plan_making(replace(WIDE, fps=fps, frames=81), Form(), "model")
    assert (making.frames, making.taken) == (length, taken)
    for number, frame in enumerate(making.taken):
        assert 0 <= number / 8 - frame / making.fps < 1 / making.fps


@pytest.mark.parametrize(("fps", "frames"), [((4.0, 30.0), 12), ((24.0, 24.0), 16), ((10.0, 12.0), 5)])
def test_a_model_whose_clips_are_too_short(fps: tuple[float, float], frames: int) -> None:
    """What the message advises works."""
    facts = replace(WIDE, fps=fps, frames=frames)
    with pytest.raises(InputError, match=f"model makes {frames} frames at .*Set --frames") as raised:
        plan_making(facts, Form(), "model")
    advised = str(raised.value).split("Set --frames ")[1]
    plan_making(facts, Form(frames=int(advised.split()[0])), "model")
    with pytest.raises(InputError):
        plan_making(facts, Form(frames=int(advised.split()[0]) + 1), "model")
    if "--fps" in advised:
        plan_making(facts, Form(fps=float(advised.split("--fps ")[1].split()[0])), "model")


def test_frames_are_scaled_and_repeated() -> None:
    making = plan_making(replace(WIDE, fps=(4.0, 4.0)), Form(size=96), "model")
    frames = np.zeros((8, 64, 64, 3), np.uint8)
    frames[:, :, 32:] = np.arange(0, 240, 30, dtype=np.uint8)[:, None, None, None]
    found = making.finish(frames)
    assert found.shape == (16, 96, 96, 3)
    assert np.abs(found[:, 50, 90].astype(int) - 30 * (np.arange(16) // 2)[:, None]).max() <= 2
    assert found[:, 50, 5].max() <= 2


@pytest.mark.parametrize(
    ("values", "message"),
    [({"size": 321}, "size 321"), ({"size": 8}, "size 8"), ({"frames": 1}, "frames 1"), ({"fps": 0}, "fps 0")],
)
def test_forms_that_no_video_has(values: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Form(**values)
