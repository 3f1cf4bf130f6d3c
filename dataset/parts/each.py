"""Reads many parts of a folder concurrently."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from base.storage.folder import Folder

_THREADS = 16
# For so few items on a local disk, starting threads takes longer.
_FEW = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_each(folder: Folder, read: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Apply ``read`` to each item, in order; raises the first error."""
    if len(items) < 2 or (len(items) <= _FEW and not folder.remote):
        return [read(item) for item in items]
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(read, items))
