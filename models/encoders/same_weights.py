"""Whether records of a dataset and of a model refer to the same encoder.

A record identifies encoder weights by the hash of their tensors (``weights_tensors``); older ones by the hash of the
files' bytes (``weights_sha256``), which differs for the same tensors in other files.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from base.errors import MotifError
from base.weights import LocalWeights, Weights
from models.encoders import autoencoder, image, text

TENSORS, FILES = "weights_tensors", "weights_sha256"
WEIGHTS = frozenset((TENSORS, FILES, "revision"))
"""The fields of an identity that identify weights; older ones include the revision on a hub."""


@dataclass(frozen=True)
class Recorded:
    """An encoder in a record: its identity, and the source of its weights if known."""

    identity: Mapping[str, Any]
    weights: Weights | None = None

    def describe(self) -> str:
        """The source and identity of the weights, for a message."""
        known = str(self.identity.get(TENSORS) or self.identity.get(FILES) or "")[:15]
        if self.weights is None:
            return known
        place = f"{self.weights.source}/{self.weights.subfolder}".rstrip("/")
        return f"{place} ({known})"


@dataclass(frozen=True)
class _Encoder:
    find: Callable[..., LocalWeights]
    weights_hash: Callable[..., str]


_ENCODERS = {
    kind: _Encoder(module.find, module.weights_hash)
    for kind, module in (("latents", autoencoder), ("text", text), ("image", image))
}


def unlike_settings(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The settings that both identities have and that differ; weights are compared by :func:`same_weights`."""
    both = (first.keys() & other.keys()) - WEIGHTS
    return sorted(key for key in both if first[key] != other[key])


def same_weights(kind: str, first: Recorded, other: Recorded) -> bool:
    """Whether two records of a kind (``latents``, ``text``, ``image``) refer to the same weights.

    If one only has the hash of file bytes, its files, or else the other's, are looked up on this machine and hashed
    both ways; nothing is downloaded. If equality cannot be shown, the result is False.
    """
    for key in (TENSORS, FILES):
        if first.identity.get(key) == other.identity.get(key) and key in first.identity:
            return True
    if not {TENSORS, FILES} & (first.identity.keys() | other.identity.keys()):
        return True  # encoders without weights
    tensors = _tensors(kind, first), _tensors(kind, other)
    if None not in tensors:
        return tensors[0] == tensors[1]
    return _has_bytes(kind, first, other) or _has_bytes(kind, other, first)


def _tensors(kind: str, one: Recorded) -> str | None:
    """The hash of a record's tensors; for old records from its files, if they are unchanged."""
    if TENSORS in one.identity:
        return str(one.identity[TENSORS])
    files, tensors = _look_up(kind, one)
    return tensors if files is not None and files == one.identity.get(FILES) else None


def _has_bytes(kind: str, one: Recorded, other: Recorded) -> bool:
    """Whether the files of ``one``, if unchanged, have the byte hash of ``other``."""
    if TENSORS not in one.identity or FILES not in other.identity:
        return False
    files, tensors = _look_up(kind, one)
    return bool(tensors == one.identity[TENSORS] and files == other.identity[FILES])


def _look_up(kind: str, one: Recorded) -> tuple[str | None, str | None]:
    """The byte hash and tensor hash of a record's weights on this machine, or None for each."""
    if one.weights is None:
        return None, None
    try:
        found = _ENCODERS[kind].find(one.weights, download=False).sha256
        return found, _ENCODERS[kind].weights_hash(one.weights, download=False)
    except MotifError:
        return None, None  # missing or damaged: nothing can be shown
