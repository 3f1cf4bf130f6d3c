import math
from collections import Counter

import pytest

from pipeline.video.sampling import Sampling, Span, draw_span


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


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"frames": 1}, "frames 1: must be at least 2"),
        ({"min_stride": 3, "max_stride": 2}, "strides 3 to 2"),
        ({"clips_per_video": 0}, "clips_per_video 0"),
    ],
)
def test_wrong_settings(fields: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Sampling(**fields)
