from dataclasses import replace

import pytest

from evaluation.sprites.score import VideoScore
from evaluation.sprites.summary import Scored, mean_by_scene, summarise
from evaluation.statistics.proportion import wilson

RIGHT = VideoScore(0, 0, "moves", True, True, 0.01, False, 0.0, 0.9, False, "red circle")
WRONG = replace(RIGHT, direction_right=False, error=0.3, leak=True, kept=0.5)


def test_rates_and_means() -> None:
    videos = [Scored(replace(score, scene=scene)) for scene in range(5) for score in (RIGHT, WRONG)]
    videos.append(Scored(replace(WRONG, scene=5, kind="pans", static=True)))
    found = summarise(videos)
    assert (found.videos, found.scenes) == (11, 6)
    assert found.right.value == pytest.approx(5 / 11)
    assert found.right.low < 5 / 11 < found.right.high
    assert found.object_right.value == 1
    assert found.error.value == pytest.approx((5 * 0.01 + 6 * 0.3) / 11)
    assert found.leak.value == pytest.approx(6 / 11)
    assert found.static.value == pytest.approx(1 / 11)
    assert {kind: rate.value for kind, rate in found.by_kind.items()} == {"moves": 0.5, "pans": 0}
    assert found.sensitivity is None


def test_sensitivity_is_the_own_prompt_minus_others() -> None:
    follows, ignores = Scored(RIGHT, (False, False)), Scored(RIGHT, (True, True))
    for one, expected in ((follows, 1), (ignores, 0), (Scored(WRONG, (True, False)), -0.5)):
        sensitivity = summarise([one, one]).sensitivity
        assert sensitivity is not None
        assert sensitivity.value == expected


def test_equal_answers_have_the_interval_of_as_many_answers_as_scenes() -> None:
    found, expected = mean_by_scene([1, 1, 1, 1], [0, 0, 1, 2]), wilson(3, 3)
    assert (found.value, found.low, found.high) == (1, expected.low, expected.high)
