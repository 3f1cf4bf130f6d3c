"""The Fréchet distance of two sets of features, taken as samples of Gaussians (Dowson & Landau 1982)."""

import math

import numpy as np
from jaxtyping import Float


def frechet_distance(ours: Float[np.ndarray, "n d"], theirs: Float[np.ndarray, "m d"]) -> float:
    """|mean - mean'|^2 + tr(C + C' - 2 (C C')^(1/2)) with unbiased covariances C and C'; at least 0.

    Both sets have at least two rows. The trace of the root is the sum of the singular values of A A'^T, where A and A'
    are the centred features over sqrt(n - 1): the covariances are C = A^T A and C' = A'^T A', and C C' has the squares
    of these values as its eigenvalues. So no root of a matrix is taken, which is inexact where there are fewer videos
    than features.
    """
    first, second = _centred(ours), _centred(theirs)
    means = float(((_mean(ours) - _mean(theirs)) ** 2).sum())
    covariances = float((first**2).sum() + (second**2).sum())
    root = float(np.linalg.svd(first @ second.T, compute_uv=False).sum())
    return max(0.0, means + covariances - 2 * root)


def _mean(features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
    return np.asarray(features.mean(0, dtype=np.float64))


def _centred(features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    return np.asarray((features - _mean(features)) / math.sqrt(len(features) - 1))
