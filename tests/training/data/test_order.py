import numpy as np
import pytest

from training.data.order import Order, Place


def groups(*sizes: int) -> list[np.ndarray]:
    return [np.arange(size) for size in sizes]


def epoch(order: Order, number: int) -> list[Place]:
    return [order[n] for n in range(number * len(order), (number + 1) * len(order))]


@pytest.mark.parametrize("window", [1, 2, 3, 100])
def test_every_clip_comes_once_an_epoch(window: int) -> None:
    order = Order(groups(4, 0, 3, 5, 1), seed=0, window=window)
    everything = sorted((place.group, place.row) for place in epoch(order, 0))
    assert everything == [(g, row) for g, size in enumerate((4, 0, 3, 5, 1)) for row in range(size)]
    for later in (1, 7):
        assert sorted((place.group, place.row) for place in epoch(order, later)) == everything


def test_only_the_rows_that_a_filter_left_are_used() -> None:
    order = Order([np.array([1, 3]), np.array([], int), np.array([0])], seed=0)
    assert {(place.group, place.row) for place in epoch(order, 0)} == {(0, 1), (0, 3), (2, 0)}


def test_any_clip_is_found_without_those_before() -> None:
    rows = groups(4, 3, 5, 4, 4, 2)
    walked = [Order(rows, seed=3, window=2)[n] for n in range(66)]  # a new one for each: nothing is remembered
    order = Order(rows, seed=3, window=2)
    assert [order[n] for n in range(66)] == walked
    assert order[5] == walked[5]


def test_epochs_seeds_and_datasets_have_orders_of_their_own() -> None:
    rows = groups(8, 8, 8)
    first = epoch(Order(rows, seed=0), 0)
    assert first == epoch(Order(rows, seed=0), 0)
    others = [epoch(Order(rows, 0), 1), epoch(Order(rows, 1), 0), epoch(Order(rows, 0, stream=1), 0)]
    assert all(other != first for other in others)


def test_a_window_holds_few_groups() -> None:
    """Clips of a window come from its groups alone, so that few groups are in memory."""
    places = epoch(Order(groups(*[4] * 6), seed=1, window=2), 0)
    for first in range(0, 24, 8):
        assert len({place.group for place in places[first : first + 8]}) == 2
