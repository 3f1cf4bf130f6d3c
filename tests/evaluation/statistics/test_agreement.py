"""Agreement against published examples and statsmodels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats import inter_rater

from evaluation.statistics.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha

# Four observers, twelve units, some answers missing: Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, C.
OBSERVERS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)
# Ten subjects, fourteen raters, five categories: Wikipedia's example of Fleiss' kappa, 0.210.
SUBJECTS = """
0 0 0 0 14
0 2 6 4 2
0 0 3 5 6
0 3 9 2 0
2 2 8 1 1
7 7 0 0 0
3 2 6 3 0
2 5 3 2 2
6 5 2 1 0
0 2 2 3 7
"""
TABLES = st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=12)


def counts(observers: tuple[tuple[int | None, ...], ...]) -> np.ndarray:
    return np.array([[unit.count(category) for category in range(1, 6)] for unit in zip(*observers, strict=True)])


def test_alpha_of_krippendorffs_example() -> None:
    assert round(krippendorff_alpha(counts(OBSERVERS)) or 0, 3) == 0.743


def test_alpha_of_two_observers() -> None:
    """The same paper, A: ten units of 0 and 1 by two observers."""
    first, second = (0, 1, 0, 0, 0, 0, 0, 0, 1, 0), (1, 1, 1, 0, 0, 1, 0, 0, 0, 0)
    units = np.array([[pair.count(0), pair.count(1)] for pair in zip(first, second, strict=True)])
    assert round(krippendorff_alpha(units) or 0, 3) == 0.095


@given(TABLES)
def test_alpha_is_one_minus_disagreement_of_pairs_counted_one_by_one(table: list[list[int]]) -> None:
    """From the definition: every ordered pair of answers within a unit, and over all pairable answers."""
    units = [[c for c, times in enumerate(row) for _ in range(times)] for row in table]
    units = [unit for unit in units if len(unit) > 1]
    everything = [answer for unit in units for answer in unit]
    n = len(everything)
    within = sum(sum(a != b for a in unit for b in unit) / (len(unit) - 1) for unit in units)
    overall = sum(a != b for a in everything for b in everything)
    found = krippendorff_alpha(np.array(table))
    assert (found is None) == (overall == 0)
    if found is not None:
        assert found == pytest.approx(1 - (within / n) / (overall / (n * (n - 1))))


def test_fleiss_kappa_of_the_example() -> None:
    table = np.array([[int(number) for number in line.split()] for line in SUBJECTS.split("\n") if line])
    assert round(fleiss_kappa(table) or 0, 3) == 0.210


@given(st.integers(2, 6), st.integers(1, 15), st.integers(0, 1000))
def test_fleiss_kappa_equals_that_of_statsmodels(raters: int, items: int, seed: int) -> None:
    table = np.random.default_rng(seed).multinomial(raters, (0.5, 0.3, 0.2), items)
    found = fleiss_kappa(table)
    if found is None:
        assert (table.sum(0) > 0).sum() == 1
    else:
        assert found == pytest.approx(inter_rater.fleiss_kappa(table))


def test_fleiss_kappa_needs_equal_numbers_of_raters() -> None:
    assert fleiss_kappa(np.array([[3, 2], [2, 2]])) is None


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("abc")), min_size=1, max_size=30))
def test_cohen_kappa_equals_that_of_statsmodels(answers: list[tuple[str, str]]) -> None:
    table = np.array([[answers.count((one, two)) for two in "abc"] for one in "abc"])
    found = cohen_kappa([one for one, _ in answers], [two for _, two in answers])
    if found is None:
        assert len({*answers}) == 1
    else:
        assert found == pytest.approx(inter_rater.cohens_kappa(table, return_results=False))


def test_no_items_have_no_agreement() -> None:
    nothing = np.zeros((0, 2), int)
    assert (krippendorff_alpha(nothing), fleiss_kappa(nothing), cohen_kappa([], [])) == (None, None, None)
