"""The Fréchet distance by hand, and against the formula with a matrix root."""

import numpy as np
import pytest
from scipy import linalg

from evaluation.metrics.formulas.frechet import frechet_distance


def sample(mean: np.ndarray, covariance: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Rows whose mean and unbiased covariance are exactly these."""
    rows = np.random.default_rng(seed).normal(size=(n, len(mean)))
    rows -= rows.mean(0)
    whitened = rows @ np.linalg.inv(linalg.sqrtm(np.cov(rows, rowvar=False)).real)
    return np.asarray(whitened @ linalg.sqrtm(covariance).real + mean)


def test_one_dimension() -> None:
    """Means 1 and 7, variances 2 and 8: 36 + (sqrt 8 - sqrt 2)^2."""
    ours, theirs = np.array([[0.0], [2.0]]), np.array([[5.0], [9.0]])
    assert frechet_distance(ours, theirs) == pytest.approx(36 + 2)


def test_covariances_with_the_same_axes() -> None:
    """(d_i - e_i)^2 along each axis, with the deviations d and e."""
    first = sample(np.zeros(3), np.diag([1.0, 4.0, 9.0]), 50, 0)
    second = sample(np.array([1.0, 2.0, 2.0]), np.diag([4.0, 4.0, 1.0]), 70, 1)
    assert frechet_distance(first, second) == pytest.approx(9 + (1 - 2) ** 2 + 0 + (3 - 1) ** 2)


def test_against_the_formula_with_a_matrix_root() -> None:
    generator = np.random.default_rng(0)
    roots = generator.normal(size=(2, 6, 6))
    first, second = (root @ root.T for root in roots)
    ours, theirs = sample(np.ones(6), first, 40, 1), sample(np.zeros(6), second, 30, 2)
    root = linalg.sqrtm(first @ second)
    expected = 6 + np.trace(first + second - 2 * root.real)
    assert frechet_distance(ours, theirs) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(theirs, ours) == pytest.approx(expected, rel=1e-9)


def test_fewer_videos_than_features() -> None:
    """The covariances are singular; the trace of the root is by the eigenvalues of their product."""
    generator = np.random.default_rng(3)
    ours, theirs = generator.normal(size=(5, 30)), generator.normal(1, 2, size=(7, 30))
    first, second = (np.cov(rows, rowvar=False) for rows in (ours, theirs))
    eigenvalues = np.linalg.eigvals(first @ second).real.clip(min=0)
    means = ((ours.mean(0) - theirs.mean(0)) ** 2).sum()
    expected = means + np.trace(first) + np.trace(second) - 2 * np.sqrt(eigenvalues[eigenvalues > 1e-9]).sum()
    assert frechet_distance(ours, theirs) == pytest.approx(expected, rel=1e-6)


def test_a_shift_and_nothing_else() -> None:
    rows = np.random.default_rng(4).normal(size=(20, 50)).astype(np.float32)
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(rows, rows + np.float32(0.5)) == pytest.approx(50 * 0.25, rel=1e-5)
