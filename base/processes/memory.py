"""Gives memory that a process no longer uses back to the system."""

import contextlib
import ctypes

import pyarrow as pa


def release_memory() -> None:
    """Return freed memory, of Arrow and of the C library, that both keep for later allocations.

    After something large that does not come again soon: both free by themselves what lies at the end of their memory
    alone, and a process of many small allocations has always something there. Takes milliseconds. Where the C library
    is not glibc, only Arrow's is returned.
    """
    pa.default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
