"""Does the same with many parts of a folder concurrently."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from base.storage.folder import Folder

_THREADS = 16
# For so few items on a local disk, starting threads takes longer.
_FEW = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


def apply_each(folder: Folder, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Apply ``function`` to each item; the results in order. Raises the first error."""
    if len(items) < 2 or (len(items) <= _FEW and not folder.remote):
        return [function(item) for item in items]
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(function, items))
