"""Spans of videos of a variable frame rate, against the definition and over random timelines."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.video.decoders import Request, decode_with_pyav
from pipeline.video.probe import probe
from pipeline.video.sampling import Sampling, Span
from pipeline.video.uneven import (
    draw_uneven_span,
    even_frames,
    frames_between,
    has_frame_more,
    pack_times,
    seconds_of,
    unpack_times,
)
from tests.containers import barcodes, read_barcode
from tests.videos import write

MILLISECOND = Fraction(1, 1000)
SLOW, FAST, PAUSE = [100] * 60, [20] * 120, [5000]
TIMELINES = {
    "slow then fast": SLOW + FAST,
    "fast then slow": FAST + SLOW,
    "a long pause": [40] * 70 + PAUSE + [40] * 70,
}


def times_of(gaps: list[int]) -> list[int]:
    return [0, *np.cumsum(gaps).tolist()]


def usable_starts(seconds: np.ndarray, step: float, count: int, low: int, high: int) -> list[int]:
    """By the definition, one moment after the other."""
    found = []
    for first in range(low, high):
        moments = [seconds[first] + i * step for i in range(count)]
        numbers = [int(np.argmin(np.abs(seconds - moment))) for moment in moments]
        near = all(abs(seconds[n] - moment) <= step / 2 + 1e-9 for n, moment in zip(numbers, moments, strict=True))
        if near and len(set(numbers)) == count and max(numbers) < high:
            found.append(first)
    return found


def assert_usable(seconds: np.ndarray, numbers: np.ndarray | None, step: float, low: int, high: int) -> None:
    assert numbers is not None
    assert len(set(numbers.tolist())) == len(numbers), "a frame twice"
    assert numbers[0] >= low
    assert numbers[-1] < high
    moments = seconds[numbers[0]] + step * np.arange(len(numbers))
    assert np.abs(seconds[numbers] - moments).max() <= step / 2 + 1e-9
    nearest = np.abs(seconds[:, None] - moments).min(axis=0)
    np.testing.assert_allclose(np.abs(seconds[numbers] - moments), nearest, atol=1e-9)


@settings(max_examples=150, deadline=None)
@given(
    gaps=st.lists(st.sampled_from([1, 10, 17, 33, 34, 40, 100, 900]), min_size=8, max_size=80),
    bounds=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    strides=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    number=st.integers(0, 1000),
)
def test_a_span_is_even_in_time_within_bounds_and_repeats_nothing(
    gaps: list[int], bounds: tuple[float, float], strides: tuple[int, int], number: int
) -> None:
    seconds = np.array(times_of(gaps)) / 1000
    fps = len(gaps) / seconds[-1]
    low, high = frames_between(seconds, *(bound * seconds[-1] for bound in sorted(bounds)))
    sampling = Sampling(frames=5, min_stride=min(strides), max_stride=max(strides))
    span = draw_uneven_span(sampling, "video", number, (low, high), seconds, fps)
    if span is None:
        for stride in range(min(strides), max(strides) + 1):
            assert usable_starts(seconds, stride / fps, 5, low, high) == []
        return
    assert sampling.min_stride <= span.stride <= sampling.max_stride
    step = span.stride / fps
    assert_usable(seconds, even_frames(seconds, span.first, step, 5), step, low, high)
    more = has_frame_more(seconds, span, fps, 5, high)
    if not more:
        assert usable_starts(seconds, step, 6, low, high) == [], "a start with one frame more comes first"


@pytest.mark.parametrize("name", TIMELINES)
def test_starts_are_drawn_from_all_that_are_usable(name: str) -> None:
    seconds = np.array(times_of(TIMELINES[name])) / 1000
    fps = (len(seconds) - 1) / seconds[-1]
    sampling = Sampling(min_stride=2, max_stride=2)
    usable = usable_starts(seconds, 2 / fps, 17, 0, len(seconds))
    drawn = [draw_uneven_span(sampling, "v", number, (0, len(seconds)), seconds, fps) for number in range(600)]
    firsts = [span.first for span in drawn if span is not None]
    assert len(firsts) == 600
    assert set(firsts) <= set(usable)
    assert np.mean(firsts) == pytest.approx(np.mean(usable), abs=6)


@given(
    gaps=st.lists(st.integers(1, 1 << 40), max_size=50),
    tick=st.fractions(min_value=Fraction(1, 10**9), max_value=1, max_denominator=10**9),
    begin=st.integers(-(1 << 40), 1 << 40),
)
def test_times_come_back_to_the_bit(gaps: list[int], tick: Fraction, begin: int) -> None:
    ticks = begin + np.array(times_of(gaps), np.int64)
    if int(ticks[-1] - ticks[0]) * tick.numerator >= 1 << 62:
        return
    np.testing.assert_array_equal(unpack_times(pack_times(ticks, tick)), seconds_of(ticks, tick))


def test_bounds_are_read_in_time() -> None:
    seconds = np.array(times_of(SLOW + FAST)) / 1000
    assert frames_between(seconds, 4.0, 5.0) == (40, 50)
    assert frames_between(seconds, 6.0, None) == (60, 181)
    assert frames_between(seconds, 6.04, 6.1) == (62, 65)
    assert frames_between(seconds, 99.0, None) == (181, 181)
    thirds = np.arange(31) / 30
    assert frames_between(thirds, 0.33, 0.67) == (10, 20)  # as a manifest with two decimals writes 1/3 and 2/3


@pytest.mark.parametrize("name", TIMELINES)
def test_clips_of_a_variable_rate_show_what_their_times_say(tmp_path: Path, name: str) -> None:
    times = times_of(TIMELINES[name])
    path = write(tmp_path / "a.mkv", barcodes(len(times)), times=times)
    facts = probe(path)
    assert facts.variable_rate
    assert facts.times is not None
    assert len(facts.times) < len(times)
    seconds = unpack_times(facts.times)
    np.testing.assert_allclose(seconds, np.array(times) / 1000)
    for number in range(6):
        span = draw_uneven_span(Sampling(), facts.content, number, (0, facts.frames), seconds, facts.fps)
        assert span is not None
        out = np.zeros((16, 64, 64, 3), np.uint8)
        decode_with_pyav(Request(path, span, 16, facts.fps, True, 0, 1.0, 64, 64, facts.frames), out)
        came = [read_barcode(frame) for frame in out]
        assert_usable(seconds, np.array(came), span.stride / facts.fps, 0, facts.frames)


def test_a_jittering_rate_gives_every_frame_once() -> None:
    jitter = np.random.default_rng(0).uniform(-0.4, 0.4, 100)
    seconds = (np.arange(100) + jitter) / 30
    seconds -= seconds[0]
    fps = 99 / seconds[-1]
    span = Span(int(np.argmin(np.abs(jitter))), 1)
    numbers = even_frames(seconds, span.first, 1 / fps, 10)
    assert numbers is not None
    assert (np.diff(numbers) == 1).all()
