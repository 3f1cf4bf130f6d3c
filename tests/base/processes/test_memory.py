"""Memory that is freed between what is kept."""

import os
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from base.processes.memory import release_memory


def resident() -> int:
    """Megabytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_lies_between_is_returned() -> None:
    kept = [bytes(1000) for _ in range(200_000)]
    arrays = [pa.array(range(20_000)) for _ in range(400)]
    full = resident()
    kept[:] = [one for number, one in enumerate(kept) if number % 500 == 0]
    arrays[:] = arrays[::50]
    release_memory()
    assert resident() < full - 150
    assert kept[-1] == bytes(1000)
    assert arrays[-1][-1].as_py() == 19_999
