"""Stamps: detect changed sources without reading them."""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

from base.storage.uri import is_remote
from pipeline.manifest.members import container

MISSING = "missing"
"""The stamp of a missing file."""


def stamp_all(uris: list[str]) -> list[str | None]:
    """Size and time of each local file (or its shard); None for remote files, which are assumed not to change."""
    size = 4096
    if all(map(str.startswith, uris, repeat("s3://"))):
        return [None] * len(uris)
    with ThreadPoolExecutor(8) as pool:
        pieces = pool.map(lambda i: [_stamp(uri) for uri in uris[i : i + size]], range(0, len(uris), size))
        return [stamp for piece in pieces for stamp in piece]


def _stamp(uri: str) -> str | None:
    if is_remote(uri):
        return None
    try:
        stat = os.stat(container(uri))  # noqa: PTH116 - called a million times, and Path.stat is several times slower
    except OSError:
        return MISSING
    return f"{stat.st_size}:{stat.st_mtime_ns}"
