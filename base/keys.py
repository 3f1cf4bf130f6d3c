"""Ids as 128-bit keys in NumPy arrays: 16 bytes each, where a Python string in a set takes 150.

A dataset's ids (of slots, clips and captions) are BLAKE2b-128 digests as 32 hex digits, and their key is the digest.
The key of any other string, such as a URI, only holds within a process (:func:`keys_of_texts`).
"""

import hashlib
import sys
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

_DIGITS = 32
_NIBBLES = np.full(256, 255, np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
# Python's hash of a string is SipHash with a secret of the process, unless it was built with another one.
_HASH_IS_KEYED = sys.hash_info.algorithm.startswith("siphash")
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
    if all(len(one) == _DIGITS for one in ids):
        keys = _from_digits(np.frombuffer("".join(ids).encode(), np.uint8), len(ids))
        if keys is not None:
            return keys
    return keys_from(_digest(one) for one in ids)


def keys_of_column(ids: "pa.Array | pa.ChunkedArray") -> Keys:
    """As :func:`keys_of`, of a column of strings without nulls, and without a Python object for each."""
    chunks = ids.chunks if isinstance(ids, pa.ChunkedArray) else [ids]
    return np.concatenate([no_keys(), *map(_keys_of_array, chunks)])


def _keys_of_array(ids: pa.Array) -> Keys:
    if len(ids) and pa.types.is_string(ids.type) and not ids.null_count:
        _, offsets, data = ids.buffers()
        ends = np.frombuffer(offsets, np.int32)[ids.offset : ids.offset + len(ids) + 1]
        if (np.diff(ends) == _DIGITS).all():
            keys = _from_digits(np.frombuffer(data, np.uint8)[ends[0] : ends[-1]], len(ids))
            if keys is not None:
                return keys
    return keys_of(ids.to_pylist())


def _from_digits(text: np.ndarray, count: int) -> Keys | None:
    """The keys of ids that are joined; None unless all are hex digits."""
    nibbles = _NIBBLES[text]
    if len(nibbles) != _DIGITS * count or (nibbles == 255).any():
        return None
    return np.asarray((nibbles[0::2] << 4) | nibbles[1::2]).view(np.uint64).reshape(-1, 2)


def ids_of(keys: Keys) -> list[str]:
    """The ids of keys that are digests."""
    digits = keys.tobytes().hex()
    return [digits[at : at + _DIGITS] for at in range(0, len(digits), _DIGITS)]


def keys_of_texts(texts: Sequence[str]) -> Keys:
    """The keys of strings that are no ids; they must not leave this process.

    Two of Python's keyed hashes, of a string and of it with a suffix, take a fifth of the time of a digest. Their 128
    bits are like drawn at random, so that any two of 20 million strings have the same key with a probability of 6e-25.
    """
    if not _HASH_IS_KEYED:
        return keys_from(_blake(text) for text in texts)
    halves = [hashes_of_texts(texts), hashes_of_texts([f"{text}\0" for text in texts])]
    return np.stack(halves, axis=1).view(np.uint64)


def hashes_of_texts(texts: Sequence[str]) -> np.ndarray:
    """64-bit hashes ``[n]`` to tell whether two strings differ; they must not leave this process."""
    if not _HASH_IS_KEYED:
        return keys_from(_blake(text) for text in texts)[:, 0].view(np.int64)
    return np.fromiter(map(hash, texts), np.int64, len(texts))


def _digest(one: str) -> bytes:
    if len(one) == _DIGITS and set(one) <= set("0123456789abcdef"):
        return bytes.fromhex(one)
    return _blake(one)


def _blake(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class KeyIndex:
    """Finds the positions of keys, exactly; of equal keys the last one counts. Some 20 bytes a key."""

    def __init__(self, keys: Keys | None = None) -> None:
        keys = no_keys() if keys is None else keys
        order = _order(keys)
        first, second = keys[order, 0], keys[order, 1]
        last = np.ones(len(keys), bool)
        last[:-1] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
        if not last.all():
            order, first, second = order[last], first[last], second[last]
        self._first, self._second = first, second
        self._positions = order.astype(np.min_scalar_type(len(keys)))

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
        at = np.empty(len(keys), np.int64)
        ascending = np.argsort(keys[:, 0])  # so that a search finds in the cache what the one before it has read
        at[ascending] = np.searchsorted(self._first, keys[ascending, 0])
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
    """A growing set of keys. Some 20 bytes a key, and amortised ``O(log n)`` for each."""

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
    ordered = keys[order]
    again = np.zeros(len(keys), bool)
    again[order[1:]] = (ordered[1:] == ordered[:-1]).all(axis=1)
    return again


def _order(keys: Keys) -> np.ndarray:
    """The positions of the keys in ascending order; those of equal keys ascend."""
    order = np.argsort(keys[:, 0])  # several times as fast as a sort by both halves and the position
    first = keys[order, 0]
    tied = np.zeros(len(keys), bool)
    tied[1:] = first[1:] == first[:-1]
    tied[:-1] |= tied[1:]
    if tied.any():
        some = order[tied]
        order[tied] = some[np.lexsort((some, keys[some, 1], keys[some, 0]))]
    return order
