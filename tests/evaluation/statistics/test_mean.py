import pytest
from scipy import stats

from evaluation.statistics.mean import t_interval


def test_the_interval_is_that_of_students_t_test() -> None:
    values = [0.1, 0.25, 0.3, 0.05]
    found, expected = t_interval(values), stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.value, found.low, found.high) == pytest.approx((0.175, expected.low, expected.high))
