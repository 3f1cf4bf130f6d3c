"""Does the same with many parts of a folder, concurrently where that is faster."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from base.storage.folder import Folder

_THREADS = 16
# Handing an item to a thread takes as long as reading a small file, so that of many items some are handed over at once.
_AT_ONCE = 32
# Seconds for each item, and at first. Items that take less are mostly Python's work: several threads only take turns
# for it, at three times the processor's time. Others wait for a disk, or decode much, which several do at once.
_QUICK, _AT_FIRST = 0.002, 0.02

Item = TypeVar("Item")
Result = TypeVar("Result")


def apply_each(
    folder: Folder, function: Callable[[Item], Result], items: Sequence[Item], threads: int = _THREADS
) -> list[Result]:
    """Apply ``function`` to each item; the results in order. Raises the first error.

    Fewer ``threads`` hold fewer items in memory.
    """
    done = [] if folder.remote and len(items) > 1 else _apply_while_quick(function, items)
    rest = items[len(done) :]
    if not rest:
        return done
    size = min(_AT_ONCE, -(-len(rest) // (4 * threads)))
    pieces = [rest[first : first + size] for first in range(0, len(rest), size)]
    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(lambda piece: [function(item) for item in piece], pieces)
        return done + [result for piece in found for result in piece]


def _apply_while_quick(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """The results of the first items, until they turn out to be slow."""
    started, found = time.perf_counter(), []
    for item in items:
        found.append(function(item))
        if time.perf_counter() - started > _AT_FIRST + _QUICK * len(found):
            break
    return found
