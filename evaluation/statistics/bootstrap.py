"""The bootstrap over clusters: intervals for answers that are not independent, such as votes on videos of one scene."""

import math

import numpy as np
from jaxtyping import Float, Num
from scipy import stats

from evaluation.statistics.estimate import Estimate

_RESAMPLES = 4000


def draw_clusters(
    clusters: int, generator: np.random.Generator, resamples: int = _RESAMPLES
) -> Float[np.ndarray, "r c"]:
    """How often each cluster is in each resample; as many are drawn, with replacement, as there are."""
    return generator.multinomial(clusters, np.full(clusters, 1 / clusters), resamples).astype(np.float64)


def cluster_bootstrap(
    hits: Num[np.ndarray, " c"], totals: Num[np.ndarray, " c"], drawn: Float[np.ndarray, "r c"], level: float = 0.95
) -> Estimate:
    """The share of ``hits`` in ``totals`` over all clusters, with an interval from resampled clusters.

    The percentiles are expanded to the width of a t interval (Hesterberg 2015, "What Teachers Should Know About the
    Bootstrap"), as the plain ones are too narrow for few clusters. One cluster says nothing about others: its interval
    is 0 to 1. Every total is at least 1; ``drawn`` is from :func:`draw_clusters`, and may serve several shares.
    """
    clusters = len(totals)
    value = float(hits.sum() / totals.sum())
    if clusters == 1:
        return Estimate(value, 0.0, 1.0)
    shares = (drawn @ hits) / (drawn @ totals)
    quantile = math.sqrt(clusters / (clusters - 1)) * stats.t.ppf((1 - level) / 2, clusters - 1)
    tail = float(stats.norm.cdf(quantile))
    low, high = np.quantile(shares, (tail, 1 - tail))
    return Estimate(value, float(low), float(high))
