"""What is told of the time a run takes."""

import pytest

from training.loop.speed import Pace


@pytest.mark.parametrize(
    ("seconds", "left", "told"),
    [
        (0.5, 3, "  left 2 s"),
        (1.0, 59, "  left 59 s"),
        (1.0, 170, "  left 3 min"),
        (1.0, 3599, "  left 1 h 0 min"),
        (3.0, 32_000, "  left 26 h 40 min"),
        (1.0, 0, ""),
    ],
)
def test_the_time_left_in_words(seconds: float, left: int, told: str) -> None:
    assert Pace().describe(seconds, left) == told


def test_the_time_left_follows_the_last_steps() -> None:
    pace = Pace()
    for _ in range(3):
        pace.describe(1.0, 100)
    assert pace.describe(90.0, 30) == "  left 30 s"  # one slow step changes nothing
    for _ in range(20):
        told = pace.describe(2.0, 30)
    assert told == "  left 1 min"
