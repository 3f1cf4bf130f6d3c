"""Does the same with many parts of a folder concurrently."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from base.storage.folder import Folder

_THREADS = 16
# For so few items on a local disk, starting threads takes longer.
_FEW = 4
# Handing an item to a thread takes as long as reading a small file, so that of many items some are handed over at once.
_AT_ONCE = 32

Item = TypeVar("Item")
Result = TypeVar("Result")


def apply_each(folder: Folder, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Apply ``function`` to each item; the results in order. Raises the first error."""
    if len(items) < 2 or (len(items) <= _FEW and not folder.remote):
        return [function(item) for item in items]
    size = min(_AT_ONCE, -(-len(items) // (4 * _THREADS)))
    pieces = [items[first : first + size] for first in range(0, len(items), size)]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda piece: [function(item) for item in piece], pieces)
        return [result for piece in found for result in piece]
