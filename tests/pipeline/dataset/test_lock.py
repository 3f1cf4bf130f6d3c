import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from diffusion.errors import InputError
from diffusion.storage import Folder
from pipeline.dataset.lock import WriteLock

HERE = socket.gethostname()


@pytest.fixture(params=["local", "s3"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(request.getfixturevalue("bucket") + "/d" if request.param == "s3" else str(tmp_path / "d"))


def holder(dataset: Folder) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((dataset / "runs").read("lock.json"))
    return facts


def leave_lock(dataset: Folder, **more: Any) -> None:
    """A lock of some other run."""
    facts = {"token": "theirs", "host": "elsewhere", "pid": 7, "beat": time.time()}
    (dataset / "runs").write("lock.json", json.dumps(facts | more).encode())


def refusal(pid: int, host: str) -> str:
    return rf"another run is writing to this dataset \(process {pid} on {re.escape(host)}\). Wait for it, or stop it"


HOLDER = """
import sys, time
from diffusion.storage import Folder
from pipeline.dataset.lock import WriteLock
with WriteLock(Folder(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def another_process(dataset: Folder) -> "Iterator[subprocess.Popen[str]]":
    """A process that holds the lock."""
    command = [sys.executable, "-c", HOLDER, dataset.uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_lock_is_held_inside_and_gone_afterwards(dataset: Folder) -> None:
    with WriteLock(dataset):
        facts = holder(dataset)
        assert (facts["host"], facts["pid"]) == (HERE, os.getpid())
        assert abs(facts["beat"] - time.time()) < 30
    assert not (dataset / "runs").exists("lock.json")
    with WriteLock(dataset):
        assert holder(dataset)["token"] != facts["token"]


def test_a_lock_is_gone_after_an_error(dataset: Folder) -> None:
    with pytest.raises(RuntimeError, match="broken"), WriteLock(dataset):
        raise RuntimeError("broken")
    assert not (dataset / "runs").exists("lock.json")


def test_a_second_writer_is_refused_and_leaves_the_lock(dataset: Folder) -> None:
    with WriteLock(dataset) as lock:
        with pytest.raises(InputError, match=refusal(os.getpid(), HERE)), WriteLock(dataset):
            pass
        assert holder(dataset)["token"] == lock.token


@pytest.mark.parametrize("reaped", [True, False], ids=["reaped", "zombie"])
def test_the_lock_of_a_killed_process_is_taken_over(dataset: Folder, reaped: bool) -> None:
    with another_process(dataset) as other:
        with pytest.raises(InputError, match=refusal(other.pid, HERE)), WriteLock(dataset):
            pass
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        if reaped:
            other.wait()
        with WriteLock(dataset):
            assert holder(dataset)["pid"] == os.getpid()


def test_a_lock_that_has_not_beaten_for_a_minute_is_taken_over(dataset: Folder) -> None:
    leave_lock(dataset, beat=time.time() - 61)
    with WriteLock(dataset) as lock:
        assert holder(dataset)["token"] == lock.token


@pytest.mark.parametrize("age", [0, 50])
def test_a_lock_that_beats_on_another_machine_is_respected(dataset: Folder, age: int) -> None:
    """Also where no process of that number is on this one."""
    with subprocess.Popen(["true"]) as ended:
        pass
    leave_lock(dataset, pid=ended.pid, beat=time.time() - age)
    with pytest.raises(InputError, match=refusal(ended.pid, "elsewhere")), WriteLock(dataset):
        pass
    assert holder(dataset)["token"] == "theirs"


def test_the_lock_of_another_is_not_deleted_at_exit(dataset: Folder) -> None:
    with WriteLock(dataset):
        leave_lock(dataset)
    assert holder(dataset)["token"] == "theirs"


def test_a_lock_that_was_deleted_inside_is_no_error_at_exit(dataset: Folder) -> None:
    with WriteLock(dataset):
        (dataset / "runs").delete("lock.json")
    assert not (dataset / "runs").exists("lock.json")


def test_of_many_that_find_a_dead_lock_one_gets_it(tmp_path: Path) -> None:
    for attempt in range(10):
        dataset = Folder(str(tmp_path / str(attempt)))
        leave_lock(dataset, beat=0.0)
        start, end = threading.Barrier(6), threading.Barrier(6)
        with ThreadPoolExecutor(6) as pool:
            held = [pool.submit(_try_to_hold, dataset, start, end) for _ in range(6)]
        assert sum(future.result() for future in held) == 1


def _try_to_hold(dataset: Folder, start: threading.Barrier, end: threading.Barrier) -> bool:
    """Whether this thread got the lock; it holds it until all have tried."""
    start.wait(30)
    try:
        with WriteLock(dataset):
            end.wait(30)
            return True
    except InputError:
        end.wait(30)
        return False


@pytest.mark.slow
def test_the_heart_beats(tmp_path: Path) -> None:
    dataset = Folder(str(tmp_path))
    with WriteLock(dataset):
        first, deadline = holder(dataset), time.monotonic() + 30
        while holder(dataset)["beat"] == first["beat"]:
            assert time.monotonic() < deadline, "no beat"
            time.sleep(0.2)
        assert holder(dataset)["token"] == first["token"]
