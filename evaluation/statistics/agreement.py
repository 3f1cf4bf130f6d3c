"""Agreement of raters beyond chance. 1 is complete agreement, 0 that of chance; None where the measure is undefined.

``counts`` has, for each item, how many raters chose each category.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int


def krippendorff_alpha(counts: Int[np.ndarray, "n k"]) -> float | None:
    """Krippendorff's alpha for nominal categories; items may have different numbers of raters (Krippendorff 2011, D).

    alpha = 1 - observed / expected disagreement, over pairs of answers to one item and over pairs of all answers.
    Items with fewer than two answers have no pairs and are left out. None if only one category was ever chosen.
    """
    counts = counts[counts.sum(1) >= 2]
    raters, chosen = counts.sum(1), counts.sum(0)
    pairable = int(chosen.sum())
    expected = pairable**2 - float((chosen**2).sum())
    if expected == 0:
        return None
    observed = float(((raters**2 - (counts**2).sum(1)) / (raters - 1)).sum())
    return 1 - (pairable - 1) * observed / expected


def fleiss_kappa(counts: Int[np.ndarray, "n k"]) -> float | None:
    """Fleiss' kappa (Fleiss 1971). None if items have different numbers of raters, or only one category was chosen."""
    raters = counts.sum(1)
    if not len(counts) or raters[0] < 2 or (raters != raters[0]).any():
        return None
    m = int(raters[0])
    observed = float(((counts**2).sum(1) - m).mean()) / (m * (m - 1))
    expected = float(((counts.sum(0) / counts.sum()) ** 2).sum())
    return None if (counts.sum(0) > 0).sum() == 1 else (observed - expected) / (1 - expected)


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Cohen's kappa of two raters' answers to the same items (Cohen 1960).

    None without items, or if both always gave one and the same answer.
    """
    if not first:
        return None
    one, two = np.array(first), np.array(second)
    observed = float((one == two).mean())
    expected = sum(float((one == name).mean() * (two == name).mean()) for name in {*first, *second})
    return None if expected == 1 else (observed - expected) / (1 - expected)
