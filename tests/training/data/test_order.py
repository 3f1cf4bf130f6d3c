import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.loader import groups_of_a_worker
from training.data.order import BlockOrder, Place, SpreadOrder


def groups(*sizes: int) -> list[np.ndarray]:
    return [np.arange(size) for size in sizes]


def epoch(order: BlockOrder | SpreadOrder, number: int) -> list[Place]:
    return [order[n] for n in range(number * len(order), (number + 1) * len(order))]


@pytest.mark.parametrize("window", [1, 2, 3, 100])
def test_every_clip_comes_once_an_epoch(window: int) -> None:
    order = BlockOrder(groups(4, 0, 3, 5, 1), seed=0, window=window)
    everything = sorted((place.group, place.row) for place in epoch(order, 0))
    assert everything == [(g, row) for g, size in enumerate((4, 0, 3, 5, 1)) for row in range(size)]
    for later in (1, 7):
        assert sorted((place.group, place.row) for place in epoch(order, later)) == everything


def test_only_the_rows_that_a_filter_left_are_used() -> None:
    order = BlockOrder([np.array([1, 3]), np.array([], int), np.array([0])], seed=0)
    assert {(place.group, place.row) for place in epoch(order, 0)} == {(0, 1), (0, 3), (2, 0)}


def test_any_clip_is_found_without_those_before() -> None:
    rows = groups(4, 3, 5, 4, 4, 2)
    walked = [BlockOrder(rows, seed=3, window=2)[n] for n in range(66)]  # a new one for each: nothing is remembered
    order = BlockOrder(rows, seed=3, window=2)
    assert [order[n] for n in range(66)] == walked
    assert order[5] == walked[5]


def test_epochs_seeds_and_datasets_have_orders_of_their_own() -> None:
    rows = groups(8, 8, 8)
    first = epoch(BlockOrder(rows, seed=0), 0)
    assert first == epoch(BlockOrder(rows, seed=0), 0)
    others = [epoch(BlockOrder(rows, 0), 1), epoch(BlockOrder(rows, 1), 0), epoch(BlockOrder(rows, 0, stream=1), 0)]
    assert all(other != first for other in others)


def test_a_window_holds_few_groups() -> None:
    """Clips of a window come from its groups alone, so that few groups are in memory."""
    places = epoch(BlockOrder(groups(*[4] * 6), seed=1, window=2), 0)
    for first in range(0, 24, 8):
        assert len({place.group for place in places[first : first + 8]}) == 2


def test_the_order_of_earlier_versions_stays() -> None:
    """As version 1 drew it: a run that began with it goes on with it."""
    places = epoch(BlockOrder(groups(8, 3, 5, 8), seed=7, stream=1, window=2), 2)
    told = " ".join(f"{place.group}:{place.row}" for place in places)
    assert hashlib.sha256(told.encode()).hexdigest()[:16] == "60571a196efcce94"


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=40).filter(any),
    held=st.integers(1, 60),
    seed=st.integers(0, 5),
)
def test_a_spread_order_gives_every_clip_once_an_epoch(sizes: list[int], held: int, seed: int) -> None:
    order = SpreadOrder(groups(*sizes), seed, held=held)
    everything = [(g, row) for g, size in enumerate(sizes) for row in range(size)]
    for number in (0, 3):
        places = epoch(order, number)
        assert sorted((place.group, place.row) for place in places) == everything
        assert [(place.group, place.row) for place in places] == list(zip(*order.epoch(number), strict=True))
        again = SpreadOrder(groups(*sizes), seed, held=held)  # nothing is remembered
        assert again[number * len(order) + len(places) - 1] == places[-1]
    if sum(sizes) > 20:
        others = [epoch(order, 1), epoch(SpreadOrder(groups(*sizes), seed + 1, held=held), 0)]
        assert epoch(SpreadOrder(groups(*sizes), seed, 1, held), 0) not in [*others, epoch(order, 0)]
        assert all(other != epoch(order, 0) for other in others)


def epoch_groups(rows: int = 1_000_000, group: int = 8, window: int = 2048) -> tuple[np.ndarray, np.ndarray]:
    order = SpreadOrder([np.arange(group)] * (rows // group), seed=0, held=window // group)
    return order.epoch(0)


def test_a_batch_of_64_holds_60_videos_at_a_million_clips() -> None:
    """Every batch of an epoch, however many clips a video has, in the default window.

    Version 1 lists a video's clips side by side. Version 2 mixes those of a part of 256, which holds whole videos.
    """
    found, rows = epoch_groups()
    listed = found.astype(np.int64) * 8 + rows
    mixed = np.concatenate([np.random.default_rng(part).permutation(256) + 256 * part for part in range(3907)])
    for version, clips in ((1, listed), (2, mixed[listed])):
        for clips_a_video in (*range(1, 17), 24, 31, 32, 33, 48, 63, 64):
            batches = np.sort((clips // clips_a_video).reshape(-1, 64), axis=1)
            distinct = 1 + (np.diff(batches, axis=1) > 0).sum(axis=1)
            assert distinct.min() >= 60, (version, clips_a_video)


@pytest.mark.parametrize(("world", "most"), [(1, 1.03), (8, 2.3)])
def test_a_window_bounds_the_groups_in_memory(world: int, most: float) -> None:
    """With as many groups as a worker may keep, each is read about once, or by two workers of eight."""
    found, _ = epoch_groups(rows=160_000)
    held: dict[int, None] = {}
    reads, each, kept = 0, 64 // world, groups_of_a_worker(256, world, 1.0)
    assert kept == {1: 256, 8: 48}[world]
    for batch in found.reshape(-1, 64):
        for group in np.sort(batch)[each * (world // 2) : each * (world // 2 + 1)].tolist():
            if group not in held:
                reads += 1
                if len(held) >= kept:
                    held.pop(next(iter(held)))
            held.pop(group, None)
            held[group] = None
    assert reads <= most * len(found) / world / 8
