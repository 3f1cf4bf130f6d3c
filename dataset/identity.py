"""Content-based ids of clips, captions, parts and configurations."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from json.encoder import encode_basestring_ascii
from typing import Any

from base.keys import Keys, keys_from


def digest(*fields: object) -> str:
    """BLAKE2b-128 over a list of fields, in hex."""
    return hashlib.blake2b(json.dumps(fields, default=str).encode(), digest_size=16).hexdigest()


def clip_id(content: str, first: int, stride: int, frames: int) -> str:
    """A clip's id: the video's content and the chosen frames, never a path."""
    (one,) = clip_ids([content], [first], [stride], frames)
    return one


def clip_ids(contents: Sequence[str], firsts: Sequence[int], strides: Sequence[int], frames: int) -> list[str]:
    """:func:`clip_id` of many clips."""
    # What digest("clip", ...) gives, in a third of the time: a plan asks for each new clip.
    hasher, quoted = hashlib.blake2b, encode_basestring_ascii
    return [
        hasher(f'["clip", {quoted(content)}, {first}, {stride}, {frames}]'.encode(), digest_size=16).hexdigest()
        for content, first, stride in zip(contents, firsts, strides, strict=True)
    ]


def slot_id(source: str, start_s: float | None, end_s: float | None, number: int, sampling: str) -> str:
    """The id of a slot: clip ``number`` of a source (content key, or uri while unknown) under a sampling.

    It only depends on the manifest and the source's content, so that a plan need not draw spans of finished clips.
    """
    return hashlib.blake2b(f"slot|{source}|{start_s}|{end_s}|{number}|{sampling}".encode(), digest_size=16).hexdigest()


def slot_keys(
    sources: Sequence[str],
    starts: Sequence[float | None],
    ends: Sequence[float | None],
    numbers: Sequence[int],
    sampling: str,
) -> Keys:
    """The keys (:mod:`base.keys`) of :func:`slot_id` of many slots."""
    if starts.count(None) == ends.count(None) == len(sources):  # most manifests have no times: the ends are alike
        known = {number: f"|None|None|{number}|{sampling}" for number in set(numbers)}
        texts = [f"slot|{source}{known[number]}" for source, number in zip(sources, numbers, strict=True)]
    else:
        rows = zip(sources, starts, ends, numbers, strict=True)
        texts = [f"slot|{source}|{start_s}|{end_s}|{number}|{sampling}" for source, start_s, end_s, number in rows]
    hasher = hashlib.blake2b
    return keys_from([hasher(text.encode(), digest_size=16).digest() for text in texts])


def text_id(caption: str) -> str:
    """The key of a caption's text states."""
    (one,) = text_ids([caption])
    return one


def text_ids(captions: Sequence[str]) -> list[str]:
    """:func:`text_id` of many captions."""
    hasher, quoted = hashlib.blake2b, encode_basestring_ascii
    return [hasher(f'["text", {quoted(one)}]'.encode(), digest_size=16).hexdigest() for one in captions]


def part_name(fingerprint: str, ids: Iterable[str]) -> str:
    """A part's name, by content, so that a repeated attempt overwrites it with the same bytes."""
    return f"part-{digest('part', fingerprint, *ids)[:16]}.parquet"


def fingerprint(identity: dict[str, Any]) -> str:
    """A hash of a configuration in 16 hex digits."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Fields in which two identities differ, as ``field: old -> new`` lines."""
    lines: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key, "(not there)"), new.get(key, "(not there)")
        if isinstance(a, dict) and isinstance(b, dict):
            lines += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            lines.append(f"{prefix}{key}: {a} -> {b}")
    return lines
