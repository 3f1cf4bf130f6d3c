"""Shares against published values, closed forms and statsmodels."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import binom_test, proportion_confint

from evaluation.statistics.proportion import (
    answers_needed,
    detectable_share,
    power,
    sign_test,
    smallest_significant,
    wilson,
)


def test_the_interval_of_the_published_score() -> None:
    """MotiF: preferred in 63.1 % of 320 pairs."""
    found = wilson(202, 320)
    assert [round(100 * number, 1) for number in (found.value, found.low, found.high)] == [63.1, 57.7, 68.2]


def test_the_smallest_significant_share_of_320() -> None:
    assert round(100 * (smallest_significant(320) or 0), 1) == 55.9
    assert sign_test(179, 320) <= 0.05 < sign_test(178, 320)


@pytest.mark.parametrize(("share", "pairs"), [(0.6, 194), (0.65, 85), (0.55, 783), (0.4, 194)])
def test_published_power(share: float, pairs: int) -> None:
    assert answers_needed(share) == pairs


@pytest.mark.parametrize("share", [0.55, 0.6, 0.65])
def test_the_exact_power_is_near_the_wanted_one(share: float) -> None:
    assert power(share, answers_needed(share)) == pytest.approx(0.8, abs=0.07)


@pytest.mark.parametrize(("share", "n"), [(0.6, 30), (0.4, 30), (0.5, 100), (1.0, 6)])
def test_power_is_the_share_of_all_outcomes_that_are_significant(share: float, n: int) -> None:
    """From its definition."""
    outcomes = (math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1) if sign_test(k, n) <= 0.05)
    assert power(share, n) == pytest.approx(sum(outcomes))


def test_the_smallest_share_that_a_study_can_show() -> None:
    for n in (10, 85, 320):
        share = detectable_share(n)
        assert share is not None
        assert power(share - 0.001, n) < 0.8 <= power(share, n)
    assert detectable_share(5) is None  # five of five has a p-value of 0.0625


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from((0.9, 0.95)))
def test_intervals_and_p_values_equal_those_of_statsmodels(answers: tuple[int, int], level: float) -> None:
    k, n = answers
    found = wilson(k, n, level)
    low, high = proportion_confint(k, n, 1 - level, "wilson")
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
    assert sign_test(k, n) == pytest.approx(binom_test(k, n), abs=1e-12)


@given(st.integers(1, 300))
def test_the_smallest_significant_share_is_significant_and_the_next_smaller_one_is_not(n: int) -> None:
    share = smallest_significant(n)
    if share is None:
        assert 2 * 0.5**n > 0.05  # even unanimous answers are not
        return
    k = round(share * n)
    assert sign_test(k, n) <= 0.05 < sign_test(k - 1, n)


def test_five_heads() -> None:
    """Closed form: both tails of 5 of 5 and of 4 of 5."""
    assert math.isclose(sign_test(5, 5), 2 / 32)
    assert math.isclose(sign_test(4, 5), 12 / 32)
