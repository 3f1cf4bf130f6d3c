import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.video.sampling import Sampling, Span, draw_spans
from tests.pipeline.video.spans import draw_alone


def draw_span(
    sampling: Sampling, content: str, number: int, frames: tuple[int, int], rate: float = 30.0
) -> Span | None:
    low, high = (np.array([bound]) for bound in frames)
    found = draw_spans(sampling, [content], [number], low, high, np.array([rate]))
    return Span(int(found.first[0]), int(found.stride[0])) if found.fits[0] else None


SAMPLING = st.tuples(st.integers(2, 20), st.integers(1, 4), st.integers(0, 4), st.integers(0, 3)).map(
    lambda found: Sampling(frames=found[0], min_stride=found[1], max_stride=found[1] + found[2], seed=found[3])
)
VIDEO = st.tuples(st.text(st.characters(codec="utf-8"), max_size=4), st.integers(0, 9), st.integers(0, 99))


@given(SAMPLING, st.lists(st.tuples(VIDEO, st.integers(-5, 200)), min_size=1, max_size=8))
def test_spans_drawn_at_once_are_those_drawn_alone(
    sampling: Sampling, clips: list[tuple[tuple[str, int, int], int]]
) -> None:
    contents, numbers, lows = zip(*(video for video, _ in clips), strict=True)
    highs = [low + more for low, (_, more) in zip(lows, clips, strict=True)]
    found = draw_spans(sampling, contents, numbers, np.array(lows), np.array(highs), np.full(len(clips), 25.0))
    for at, (content, number, low, high) in enumerate(zip(contents, numbers, lows, highs, strict=True)):
        span = Span(int(found.first[at]), int(found.stride[at])) if found.fits[at] else None
        assert span == draw_alone(sampling, content, number, (low, high))


def test_a_span_depends_on_content_and_nothing_else() -> None:
    sampling = Sampling()
    assert draw_span(sampling, "abc", 0, (0, 300)) == draw_span(sampling, "abc", 0, (0, 300))
    spans = {draw_span(sampling, content, number, (0, 300)) for content in "abcdef" for number in range(3)}
    assert len(spans) > 12
    assert draw_span(sampling, "abc", 0, (0, 300)) != draw_span(Sampling(seed=1), "abc", 0, (0, 300))


def test_strides_are_uniform_and_spans_stay_inside() -> None:
    counts: Counter[int] = Counter()
    for number in range(3000):
        span = draw_span(Sampling(), "video", number, (10, 200))
        assert span is not None
        assert span.first >= 10
        assert span.first + 16 * span.stride < 200  # the frame after the last is there too
        counts[span.stride] += 1
    assert set(counts) == {1, 2, 3, 4, 5, 6}
    assert all(400 < count < 600 for count in counts.values())


@pytest.mark.parametrize(
    ("frames", "expected"),
    [(15, None), (16, Span(0, 1)), (17, Span(0, 1))],
)
def test_short_videos(frames: int, expected: Span | None) -> None:
    assert draw_span(Sampling(), "video", 0, (0, frames)) == expected


def dynamicrafter_strides(sampling: Sampling, frames: int) -> dict[int, float]:
    """How likely each stride is, in closed form: as lvdm/data/webvid.py of DynamiCrafter draws it."""
    drawn = range(sampling.min_stride, sampling.max_stride + 1)
    fits = [stride for stride in drawn if (sampling.frames - 1) * stride + 1 <= frames]
    likely = dict.fromkeys(fits, 1 / len(drawn))
    shortened = max(sampling.min_stride, frames // sampling.frames)
    likely[shortened] = likely.get(shortened, 0) + 1 - len(fits) / len(drawn)
    return likely


@pytest.mark.parametrize("frames", [16, 31, 32, 46, 47, 50, 64, 76, 90, 91, 96, 300])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(min_stride=2, max_stride=4)], ids=["1 to 6", "2 to 4"])
def test_strides_have_the_distribution_of_dynamicrafter(sampling: Sampling, frames: int) -> None:
    """One stride of all is drawn first; where the video is too short for it, it becomes frames // L."""
    draws = 4000
    spans = [draw_span(sampling, f"{frames}", number, (0, frames)) for number in range(draws)]
    if frames < 15 * sampling.min_stride + 1:
        assert set(spans) == {None}
        return
    found = Counter(span.stride for span in spans if span)
    expected = dynamicrafter_strides(sampling, frames)
    assert set(found) == {stride for stride, share in expected.items() if share > 1e-9}
    for stride, share in expected.items():
        assert abs(found[stride] - draws * share) <= 4 * math.sqrt(draws * share * (1 - share)) + 1e-6, stride
    assert max(span.first + 15 * span.stride for span in spans if span) < frames


def test_a_smallest_stride_that_does_not_fit() -> None:
    assert draw_span(Sampling(min_stride=4), "video", 0, (0, 60)) is None
    span = draw_span(Sampling(min_stride=4), "video", 0, (0, 61))
    assert span == Span(0, 4)


@given(st.floats(1, 1000), st.floats(1, 120))
def test_the_stride_for_a_rate_is_the_best_of_all(rate: float, fps: float) -> None:
    span = draw_span(Sampling(frames=2, fps=fps), "video", 0, (0, 10_000), rate)
    assert span is not None
    misses = [abs(math.log(rate / stride / fps)) for stride in range(1, 1002)]
    assert misses[span.stride - 1] <= min(misses) + 1e-9


def test_at_a_rate_each_video_has_its_own_stride() -> None:
    """The settings of drawn strides have no part in it, and a video too short for its stride has no clip."""
    sampling, rates = Sampling(frames=49, fps=24.0), np.array([12.0, 23.976, 30.0, 50.0, 60.0, 60.0])
    low, high = np.zeros(6, int), np.array([49, 49, 49, 97, 145, 144])
    found = draw_spans(sampling, list("abcdef"), [0] * 6, low, high, rates)
    assert found.stride.tolist() == [1, 1, 1, 2, 3, 3]
    assert found.fits.tolist() == [True] * 5 + [False]
    other = draw_spans(Sampling(49, 2, 3, fps=24.0), list("abcdef"), [0] * 6, low, high + 100, rates)
    again = draw_spans(sampling, list("abcdef"), [0] * 6, low, high + 100, rates)
    assert other.first.tolist() == again.first.tolist()
    assert other.stride.tolist() == found.stride.tolist()
    assert sampling.at(60.0) == Sampling(49, 3, 3, fps=24.0)
    assert Sampling(16).at(60.0) == Sampling(16)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"frames": 1}, "frames 1: must be at least 2"),
        ({"min_stride": 3, "max_stride": 2}, "strides 3 to 2"),
        ({"clips_per_video": 0}, "clips_per_video 0"),
        ({"fps": 0.0}, "fps 0.0: must be frames per second above 0, or None to draw a stride"),
    ],
)
def test_wrong_settings(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Sampling(**fields)
