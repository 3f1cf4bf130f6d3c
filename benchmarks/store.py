"""The use of Ray's object store while something runs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class StorePeak:
    """The most bytes the object store held, and the bytes it had spilled in the end."""

    used: int = 0
    spilled: int = 0
    samples: int = 0


@contextmanager
def watched_store(every_s: float = 0.05) -> Iterator[StorePeak]:
    """Ask the raylet for the store's use, again and again, until the block ends."""
    import ray
    from ray._private.internal_api import node_stats

    (node,) = ray.nodes()
    place = (node["NodeManagerAddress"], node["NodeManagerPort"])
    peak, ended = StorePeak(), threading.Event()

    def watch() -> None:
        while not ended.wait(every_s):
            stats = node_stats(*place, include_memory_info=False).store_stats
            peak.used = max(peak.used, stats.object_store_bytes_used + stats.object_store_bytes_fallback)
            peak.spilled = stats.spilled_bytes_total
            peak.samples += 1

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
