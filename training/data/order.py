"""The endless order in which a dataset's clips are seen: shuffled anew each epoch, computed and not stored.

The n-th clip depends on (seed, n) alone, so a run goes on at any n without reading what came before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Keeps this stream of random numbers apart from all others of the same seed.
_STREAM = 1


@dataclass(frozen=True)
class Place:
    """Where a clip lies: the number of its row group, and its row there."""

    group: int
    row: int


class Order:
    """Clips of row groups in random order, mixed within ``window`` groups, since a group is what is read at once.

    ``rows`` holds the rows to use of each group, none for a group that a filter empties. ``stream`` tells datasets of
    one run apart. Every clip comes once an epoch.
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
