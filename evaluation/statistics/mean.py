"""The mean of a few independent values."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from evaluation.statistics.estimate import Estimate


def t_interval(values: Sequence[float], level: float = 0.95) -> Estimate:
    """The mean of two or more values, such as those of runs with different seeds, with Student's t interval."""
    mean, count = float(np.mean(values)), len(values)
    half = float(stats.t.ppf((1 + level) / 2, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
    return Estimate(mean, mean - half, mean + half)
