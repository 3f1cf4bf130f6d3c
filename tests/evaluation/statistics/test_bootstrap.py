"""The cluster bootstrap against known standard errors, and its coverage for clusters that differ."""

import numpy as np
import pytest

from evaluation.statistics.bootstrap import cluster_bootstrap, draw_clusters


def drawn(clusters: int) -> np.ndarray:
    return draw_clusters(clusters, np.random.default_rng(0))


def test_independent_answers_have_the_interval_of_a_binomial_share() -> None:
    hits = np.repeat((1, 0), (600, 400))
    found = cluster_bootstrap(hits, np.ones_like(hits), drawn(1000))
    half = 1.96 * np.sqrt(0.6 * 0.4 / 1000)
    assert found.value == 0.6
    assert (found.low, found.high) == pytest.approx((0.6 - half, 0.6 + half), abs=0.004)


def test_answers_that_repeat_each_other_count_once() -> None:
    """Ten equal votes in each of 100 scenes say as much as 100 votes: the interval is sqrt(10) times wider."""
    hits = np.repeat((1, 0), (60, 40))
    apart = cluster_bootstrap(np.repeat(hits, 10), np.ones(1000), drawn(1000))
    together = cluster_bootstrap(10 * hits, np.full(100, 10), drawn(100))
    assert together.value == apart.value
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(np.sqrt(10), rel=0.07)


def test_one_cluster_says_nothing_about_others() -> None:
    found = cluster_bootstrap(np.array([7]), np.array([10]), drawn(1))
    assert (found.value, found.low, found.high) == (0.7, 0.0, 1.0)


@pytest.mark.parametrize("clusters", [8, 22])
def test_it_covers_the_true_share_for_few_scenes_that_differ(clusters: int) -> None:
    """Scenes of unequal sizes, each with its own share around 0.6: at least 93 % of nominal 95 % intervals."""
    covered = 0
    for seed in range(400):
        generator = np.random.default_rng((clusters, seed))
        totals = generator.integers(10, 21, clusters)
        hits = generator.binomial(totals, generator.beta(6, 4, clusters))
        covered += cluster_bootstrap(hits, totals, draw_clusters(clusters, generator, 1000)).covers(0.6)
    assert covered >= 0.93 * 400
