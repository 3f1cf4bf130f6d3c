"""Stamps: what tells, without reading it, whether a source has changed."""

import os
from concurrent.futures import ThreadPoolExecutor

from base.storage.uri import is_remote
from pipeline.manifest.members import container

MISSING = "missing"
"""The stamp of a file that is not there."""


def stamp_all(uris: list[str]) -> list[str | None]:
    """Size and time of each local file (of the shard that holds it); None for a remote one, trusted not to change."""
    size = 4096
    with ThreadPoolExecutor(8) as pool:
        pieces = pool.map(lambda i: [_stamp(uri) for uri in uris[i : i + size]], range(0, len(uris), size))
        return [stamp for piece in pieces for stamp in piece]


def _stamp(uri: str) -> str | None:
    if is_remote(uri):
        return None
    try:
        stat = os.stat(container(uri))  # noqa: PTH116 - a million times, and Path.stat costs several times as much
    except OSError:
        return MISSING
    return f"{stat.st_size}:{stat.st_mtime_ns}"
