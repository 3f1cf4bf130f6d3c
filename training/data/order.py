"""The endless order of a dataset's clips: reshuffled each epoch, computed instead of stored.

The n-th clip depends only on (seed, n), so a run can resume at any n without replaying the order.

A row group is read as a whole, but its clips are neighbours, often of one video, and should not share a batch.
:class:`SpreadOrder` spreads the clips of a group evenly; :class:`BlockOrder` is the order of earlier versions, kept
for runs that began with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

# Separates these random numbers from others with the same seed.
_STREAM = 1
_SPREAD_STREAM = 5
# Share of the held groups whose clips are mixed; the rest is slack before a group is needed again.
_REACH = 2 / 3


@dataclass(frozen=True)
class Place:
    """Where a clip lies: the number of its row group, and its row there."""

    group: int
    row: int


@runtime_checkable
class Order(Protocol):
    """An endless order of a dataset's clips."""

    def __len__(self) -> int:
        """Clips in an epoch."""
        ...

    def __getitem__(self, n: int) -> Place:
        """The n-th clip."""
        ...


def make_order(rows: Sequence[np.ndarray], seed: int, stream: int, held: int) -> Order:
    """The order for a reader that holds ``held`` row groups in memory; 0: the order of earlier versions."""
    return SpreadOrder(rows, seed, stream, held) if held else BlockOrder(rows, seed, stream)


class SpreadOrder:
    """Row groups in random order, with the clips of each at even intervals; at most ``held`` groups are in use.

    With G groups of n clips in the random order of an epoch, the clips of group j stand at (j + w (r + u_j) / n) mod G,
    where r numbers its clips in a random order, u_j is a random phase in 0 to 1 and w = 2/3 ``held``: two clips of a
    group are w / n groups apart, which is w clips. The mod lets an epoch end as evenly as it runs.

    ``rows`` holds the rows to use of each group, possibly none. ``stream`` distinguishes the datasets of a run. Every
    clip comes once per epoch. Memory: 8 bytes per clip.
    """

    def __init__(self, rows: Sequence[np.ndarray], seed: int, stream: int = 0, held: int = 256) -> None:
        self.rows = rows
        self.used = np.flatnonzero([len(group) for group in rows])
        self.seed = (seed, _SPREAD_STREAM, stream)
        self.width = max(1, min(round(held * _REACH), len(self.used)))
        self.length = int(sum(len(group) for group in rows))
        assert self.length, "a dataset without clips is refused before"
        self._epoch = (-1, np.empty(0, np.int32), np.empty(0, np.int32))

    def __len__(self) -> int:
        """Clips in an epoch."""
        return self.length

    def __getitem__(self, n: int) -> Place:
        """The n-th clip of the endless order."""
        epoch, at = divmod(n, self.length)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, *self.epoch(epoch))
        return Place(int(self._epoch[1][at]), int(self._epoch[2][at]))

    def epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Group and row of every clip of an epoch, in their order."""
        rng = np.random.default_rng([*self.seed, epoch])
        groups = rng.permutation(self.used)
        sizes = np.array([len(self.rows[group]) for group in groups])
        at = np.repeat(np.arange(len(groups)), sizes)
        rank = np.arange(len(at)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rows = np.concatenate([self.rows[group] for group in groups])
        rows = rows[np.lexsort((rng.random(len(rows)), at))]  # each group's in a random order
        phase = np.repeat(rng.random(len(groups)), sizes)
        place = (at + self.width * (rank + phase) / np.repeat(sizes, sizes)) % len(groups)
        order = np.argsort(place, kind="stable")
        return groups[at[order]].astype(np.int32), rows[order].astype(np.int32)


class BlockOrder:
    """The order of earlier versions: groups in random order, the clips of ``window`` of them shuffled together.

    With groups of eight, a batch of 64 holds whole groups. ``rows`` and ``stream`` as in :class:`SpreadOrder`.
    """

    def __init__(self, rows: Sequence[np.ndarray], seed: int, stream: int = 0, window: int = 8) -> None:
        self.rows = rows
        self.used = np.flatnonzero([len(group) for group in rows])
        self.seed = (seed, _STREAM, stream)
        self.window = window
        self.length = int(sum(len(group) for group in rows))
        assert self.length, "a dataset without clips is refused before"
        self._epoch = (-1, np.empty(0, int), np.empty(0, int))
        self._window: tuple[tuple[int, int], list[Place]] = ((-1, -1), [])

    def __len__(self) -> int:
        """Clips in an epoch."""
        return self.length

    def __getitem__(self, n: int) -> Place:
        """The n-th clip of the endless order."""
        epoch, at = divmod(n, self.length)
        groups, ends = self._groups(epoch)
        number = int(np.searchsorted(ends, at, side="right"))
        first = int(ends[number - 1]) if number else 0
        return self._places(epoch, number, groups)[at - first]

    def _groups(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The groups of an epoch in their order, and where each window of them ends, in clips."""
        if self._epoch[0] != epoch:
            groups = np.random.default_rng([*self.seed, epoch]).permutation(self.used)
            counts = np.cumsum([len(self.rows[group]) for group in groups])
            last = np.append(np.arange(self.window - 1, len(groups) - 1, self.window), len(groups) - 1)
            self._epoch = (epoch, groups, counts[last])
        return self._epoch[1:]

    def _places(self, epoch: int, number: int, groups: np.ndarray) -> list[Place]:
        """The clips of a window in their order."""
        if self._window[0] != (epoch, number):
            chosen = groups[number * self.window : (number + 1) * self.window]
            places = [Place(int(group), int(row)) for group in chosen for row in self.rows[group]]
            shuffled = np.random.default_rng([*self.seed, epoch, number]).permutation(len(places))
            self._window = ((epoch, number), [places[i] for i in shuffled])
        return self._window[1]
