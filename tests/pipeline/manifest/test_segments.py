from datetime import time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.manifest.segments import captions_of, read_segments, seconds


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, None),
        ("", None),
        (0, 0.0),
        ("12.5", 12.5),
        ("0:00:17.683", 17.683),
        ("00:01:02,5", 62.5),
        ("2:11", 131.0),
        ("90:00", 5400.0),
        (timedelta(minutes=1), 60.0),
        (time(0, 1, 2, 500000), 62.5),
    ],
)
def test_times(value: object, found: float | None) -> None:
    assert seconds(value) == pytest.approx(found)


@pytest.mark.parametrize("value", ["x", "-1", -0.5, "nan", "inf", "0:61:00", "1:75", True, [1], {}, "0:-1"])
def test_what_is_no_time(value: object) -> None:
    with pytest.raises(ValueError, match=r"time|seconds"):
        seconds(value)


@given(st.integers(0, 10**8))
def test_clock_times_are_seconds(milliseconds: int) -> None:
    whole, rest = divmod(milliseconds, 1000)
    text = f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}.{rest:03}"
    assert seconds(text) == pytest.approx(milliseconds / 1000, abs=1e-9)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("[['0:00:17.683', '0:00:23.022'], ['0:00:23.022', '0:00:30.1']]", [(17.683, 23.022), (23.022, 30.1)]),
        ("['0:00:17.683', '0:00:23.022']", [(17.683, 23.022)]),
        ("[[0, 4.5], [4.5, 9]]", [(0.0, 4.5), (4.5, 9.0)]),
        ([[1, 2]], [(1.0, 2.0)]),
        ([1, 2], [(1.0, 2.0)]),
        ("((1, 2), (3, 4))", [(1.0, 2.0), (3.0, 4.0)]),
        ([{"start": 1, "end": "0:02"}], [(1.0, 2.0)]),
        ([{"start_time": 1}], [(1.0, None)]),
        ("[]", []),
    ],
)
def test_segments(value: object, found: list[tuple[float, float | None]]) -> None:
    assert read_segments(value) == found


@pytest.mark.parametrize(
    "value", ["[1, 2, 3]", "[", "[[1]]", "[['a', 'b']]", 7, "__import__('os')", [{"x": 1}], [None, None]]
)
def test_what_is_no_list_of_segments(value: object) -> None:
    with pytest.raises(ValueError, match=r"segment|time|seconds|end"):
        read_segments(value)


def test_captions_of_segments() -> None:
    assert captions_of("['a', 'b']", 2) == ["a", "b"]
    assert captions_of(["a", "b"], 2) == ["a", "b"]
    assert captions_of("one for all", 3) == ["one for all"] * 3
    assert captions_of("[sic] a cat", 1) == ["[sic] a cat"]
    assert captions_of("['a cat']", 1) == ["a cat"]
    assert captions_of(None, 2) == [None, None]
    assert captions_of(["a"], 2) == ["a", "a"]
    with pytest.raises(ValueError, match="3 captions for 2 segments"):
        captions_of("['a', 'b', 'c']", 2)
