"""Shares of independent yes-no answers: intervals, the exact test against one half, and how many answers a study needs.

All tests are two-sided, and compare a share with one half: in a forced choice, neither side is preferred.
"""

import math

import numpy as np
from scipy import stats

from evaluation.statistics.estimate import Estimate


def wilson(successes: int, n: int, level: float = 0.95) -> Estimate:
    """The share of ``successes`` in ``n`` >= 1 answers with Wilson's score interval (Wilson 1927)."""
    interval = stats.binomtest(successes, n).proportion_ci(level, "wilson")
    return Estimate(successes / n, float(interval.low), float(interval.high))


def sign_test(successes: int, n: int) -> float:
    """The exact two-sided binomial p-value of ``successes`` in ``n`` answers, if either answer were equally likely."""
    return min(1.0, 2 * float(stats.binom.sf(max(successes, n - successes) - 1, n, 0.5)))


def smallest_significant(n: int, alpha: float = 0.05) -> float | None:
    """The smallest share above one half that :func:`sign_test` finds significant; None if ``n`` is too small."""
    successes = np.arange(n // 2 + 1, n + 1)
    significant = successes[2 * stats.binom.sf(successes - 1, n, 0.5) <= alpha]
    return float(significant[0] / n) if significant.size else None


def answers_needed(share: float, wanted: float = 0.8, alpha: float = 0.05) -> int:
    """How many answers show that a true ``share`` differs from one half, with the ``wanted`` power.

    By the normal approximation; the exact test has a few per cent less (:func:`power`).
    n = ((z_(1 - alpha/2) / 2 + z_power sqrt(p (1 - p))) / (p - 1/2))^2, rounded up. ``share``: any but one half.
    """
    error, spread = float(stats.norm.ppf(1 - alpha / 2)), math.sqrt(share * (1 - share))
    return math.ceil(((error / 2 + float(stats.norm.ppf(wanted)) * spread) / (share - 0.5)) ** 2)


def power(share: float, n: int, alpha: float = 0.05) -> float:
    """The exact probability that :func:`sign_test` finds ``n`` answers significant if the true share is this."""
    smallest = smallest_significant(n, alpha)
    if smallest is None:
        return 0.0
    successes = round(smallest * n)
    return float(stats.binom.sf(successes - 1, n, share) + stats.binom.cdf(n - successes, n, share))


def detectable_share(n: int, wanted: float = 0.8) -> float | None:
    """The smallest true share above one half, in thousandths, that ``n`` answers show with this power, or None."""
    shares = (thousandths / 1000 for thousandths in range(501, 1001))
    return next((share for share in shares if power(share, n) >= wanted), None)
