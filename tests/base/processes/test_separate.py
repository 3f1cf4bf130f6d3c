"""A call in another process: its result, its errors, and its end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from base.errors import DamagedFile, Incomplete, InputError
from base.processes.separate import SeparateCall
from tests.processes import processes


def raises(kind: str) -> None:
    if kind == "damaged":
        raise DamagedFile("a/b.parquet", "its digest is another")
    raise InputError(f"--{kind}: choose another.")


class OddError(Exception):
    """As some libraries have them: it cannot be pickled and read again."""

    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")


def breaks() -> None:
    raise OddError(code=3)


def ends(number: int) -> None:
    os.kill(os.getpid(), number)


def waits(mark: str) -> None:
    Path(mark).write_text(str(os.getpid()))
    time.sleep(600)


def test_results() -> None:
    with SeparateCall("math:hypot", 3.0, 4.0) as first, SeparateCall("os:getpid") as second:
        assert first.result() == 5.0
        assert second.result() not in (os.getpid(), None)


def test_its_errors_are_raised_here() -> None:
    with SeparateCall("tests.base.processes.test_separate:raises", "size") as call, pytest.raises(InputError) as caught:
        call.result()
    assert str(caught.value) == "--size: choose another."
    with (
        SeparateCall("tests.base.processes.test_separate:raises", "damaged") as call,
        pytest.raises(DamagedFile) as damaged,
    ):
        call.result()
    assert str(damaged.value) == "a/b.parquet is damaged: its digest is another"
    assert damaged.value.uri == "a/b.parquet"


def test_a_bug_comes_with_its_traceback() -> None:
    """Of any type, for the user to report."""
    with SeparateCall("tests.base.processes.test_separate:breaks") as call, pytest.raises(RuntimeError) as caught:
        call.result()
    assert "in breaks\n    raise OddError(code=3)\n" in str(caught.value)
    assert str(caught.value).endswith("OddError: code 3\n")


def test_a_process_that_is_killed() -> None:
    with (
        SeparateCall("tests.base.processes.test_separate:ends", signal.SIGKILL) as call,
        pytest.raises(Incomplete, match="status -9; often the machine is out of memory"),
    ):
        call.result()


def test_ctrl_c_is_left_to_the_caller() -> None:
    """Also in the first process that a process spawns, with which multiprocessing spawns one of its own."""
    code = (
        "from base.processes.separate import SeparateCall\n"
        "with SeparateCall('tests.base.processes.test_separate:ends', 2) as call: print(call.result())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("None\n", "")


def begun(mark: Path) -> int:
    deadline = time.monotonic() + 60
    while not mark.exists() or not mark.read_text():
        assert time.monotonic() < deadline
    return int(mark.read_text())


def test_leaving_the_context_ends_it(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with SeparateCall("tests.base.processes.test_separate:waits", str(mark)):
        pid = begun(mark)
        assert pid in processes()
    assert pid not in processes()


def test_it_ends_with_a_caller_that_is_killed(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = (
        "import sys; from base.processes.separate import SeparateCall\n"
        "with SeparateCall('tests.base.processes.test_separate:waits', sys.argv[1]) as call: call.result()"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(mark)]) as caller:
        pid = begun(mark)
        caller.kill()
    deadline = time.monotonic() + 60
    while pid in processes():
        assert time.monotonic() < deadline
