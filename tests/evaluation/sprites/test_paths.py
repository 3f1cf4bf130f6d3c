import itertools

import numpy as np
import pytest

from evaluation.sprites.paths import cheapest_path, refine

SHORT = 10


def exhaustive(costs: np.ndarray, first: np.ndarray) -> float:
    """The least price of all paths, tried one by one: steps of at most one position along an axis, each 0.1 dearer."""
    places = list(itertools.product(range(costs.shape[1]), range(costs.shape[2])))
    best = np.inf
    for path in itertools.product(places, repeat=len(costs)):
        steps = [np.subtract(b, a) for a, b in itertools.pairwise(path)]
        if np.isfinite(first[path[0]]) and max(np.abs(step).max() for step in steps) <= 1:
            best = min(best, price(costs, first, path))
    return best


def price(costs: np.ndarray, first: np.ndarray, path: object) -> float:
    found = [tuple(place) for place in np.asarray(path)]
    steps = sum(0.1 * float((np.subtract(b, a) ** 2).sum()) for a, b in itertools.pairwise(found))
    return float(first[found[0]]) + steps + sum(float(costs[t][found[t]]) for t in range(1, len(found)))


@pytest.mark.parametrize("seed", range(4))
def test_no_path_is_cheaper(seed: int) -> None:
    rng = np.random.default_rng(seed)
    costs = rng.random((3, 3, 4)).astype(np.float32)
    first = np.full((3, 4), np.inf, np.float32)
    first[1, 1] = first[0, 3] = 0.1
    path = cheapest_path(costs, first, SHORT)
    assert price(costs, first, path) == pytest.approx(exhaustive(costs, first), abs=1e-5)


def test_without_a_reason_to_move_a_path_stays() -> None:
    first = np.full((8, 8), np.inf, np.float32)
    first[3, 5] = 0
    assert cheapest_path(np.ones((5, 8, 8), np.float32), first, 64).tolist() == [[3, 5]] * 5


def test_no_step_is_longer_than_anything_moves() -> None:
    """What fits best is 46 positions away, and three steps of 11 do not lead there."""
    costs = np.ones((4, 64, 64), np.float32)
    costs[:, 32, 50] = 0
    first = np.full((64, 64), np.inf, np.float32)
    first[32, 4] = 0
    assert cheapest_path(costs, first, 64).tolist() == [[32, 4]] * 4


def test_the_vertex_of_a_parabola() -> None:
    y, x = np.mgrid[:7, :7]
    cost = ((y - 3.3) ** 2 + (x - 2.8) ** 2).astype(np.float32)
    assert refine(cost, (3, 3)) == pytest.approx((3.3, 2.8), abs=1e-3)
    assert refine(cost, (0, 0)) == (0, 0)
