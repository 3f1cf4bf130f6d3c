"""The same reading of many parts of a folder, many at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from base.storage.folder import Folder

_THREADS = 16
# A local disk answers so few requests before as many threads have started.
_FEW = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_each(folder: Folder, read: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """``read`` of each item of a folder, in their order; the first error of one is raised."""
    if len(items) < 2 or (len(items) <= _FEW and not folder.remote):
        return [read(item) for item in items]
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(read, items))
