"""Ids as 128-bit keys in NumPy arrays: 16 bytes each, where a Python string in a set takes 150.

A dataset's ids (of slots, clips and captions) are BLAKE2b-128 digests as 32 hex digits, and their key is the digest.
The key of any other string, such as a URI, is its BLAKE2b-128 digest.
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

_DIGITS = 32
_NIBBLES = np.full(256, 255, np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
Keys = np.ndarray
"""``uint64``, n 2."""


def no_keys() -> Keys:
    """An empty array of keys."""
    return np.empty((0, 2), np.uint64)


def keys_from(digests: Iterable[bytes]) -> Keys:
    """Keys of BLAKE2b-128 digests of 16 bytes."""
    return np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2)


def keys_of(ids: Sequence[str]) -> Keys:
    """The keys of ids."""
    text = "".join(ids).encode()
    if len(text) == _DIGITS * len(ids) and all(len(one) == _DIGITS for one in ids):
        nibbles = _NIBBLES[np.frombuffer(text, np.uint8)]
        if not (nibbles == 255).any():
            return ((nibbles[0::2] << 4) | nibbles[1::2]).view(np.uint64).reshape(-1, 2)
    return keys_from(_digest(one) for one in ids)


def keys_of_texts(texts: Sequence[str]) -> Keys:
    """The keys of strings that are no ids."""
    hasher = hashlib.blake2b
    return keys_from([hasher(text.encode(), digest_size=16).digest() for text in texts])


def _digest(one: str) -> bytes:
    if len(one) == _DIGITS and set(one) <= set("0123456789abcdef"):
        return bytes.fromhex(one)
    return hashlib.blake2b(one.encode(), digest_size=16).digest()


class KeyIndex:
    """Finds the positions of keys, exactly; of equal keys the last one counts. 24 bytes a key."""

    def __init__(self, keys: Keys | None = None) -> None:
        keys = no_keys() if keys is None else keys
        order = _order(keys)
        last = np.ones(len(keys), bool)
        last[:-1] = ~_like_the_next(keys[order])
        order = order[last]
        self._first, self._second = keys[order, 0], keys[order, 1]
        self._positions = order

    @classmethod
    def of(cls, ids: Sequence[str]) -> "KeyIndex":
        """The index of ids."""
        return cls(keys_of(ids))

    def __len__(self) -> int:
        """The number of different keys."""
        return len(self._first)

    def __contains__(self, one: str) -> bool:
        """Whether an id is there."""
        return bool(self.find(keys_of([one]))[0] >= 0)

    @property
    def keys(self) -> Keys:
        """The different keys, in an order of their own."""
        return np.stack([self._first, self._second], axis=1)

    def find(self, keys: Keys) -> np.ndarray:
        """The position of each key, -1 where there is none."""
        found = np.full(len(keys), -1, np.int64)
        at = np.searchsorted(self._first, keys[:, 0])
        left = np.arange(len(keys))
        while left.size:  # once, unless first halves are equal
            left = left[at[left] < len(self._first)]
            left = left[self._first[at[left]] == keys[left, 0]]
            hit = self._second[at[left]] == keys[left, 1]
            found[left[hit]] = self._positions[at[left[hit]]]
            left = left[~hit]
            at[left] += 1
        return found


class KeySet:
    """A growing set of keys. 24 bytes a key, and amortised ``O(log n)`` for each."""

    def __init__(self) -> None:
        self._runs: list[KeyIndex] = []

    def has(self, keys: Keys) -> np.ndarray:
        """Which of the keys are there."""
        found = np.zeros(len(keys), bool)
        for run in self._runs:
            found |= run.find(keys) >= 0
        return found

    def add(self, keys: Keys) -> None:
        """Add keys, which may be there."""
        run = KeyIndex(keys)
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = KeyIndex(np.concatenate([self._runs.pop().keys, run.keys]))
        if len(run):
            self._runs.append(run)


def seen_before(keys: Keys) -> np.ndarray:
    """Which keys occur at an earlier position, too."""
    order = _order(keys)
    again = np.zeros(len(keys), bool)
    again[order[1:]] = _like_the_next(keys[order])
    return again


def _order(keys: Keys) -> np.ndarray:
    """The positions of the keys in ascending order; those of equal keys ascend."""
    return np.lexsort((keys[:, 1], keys[:, 0]))


def _like_the_next(ordered: Keys) -> np.ndarray:
    return np.asarray((ordered[1:] == ordered[:-1]).all(axis=1))
