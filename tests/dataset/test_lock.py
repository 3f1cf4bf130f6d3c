import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from base.errors import Incomplete, InputError, StorageError
from base.storage.folder import Folder
from dataset.holder import Holder
from dataset.lock import FenceWatch, WriteLock, read_chain

HERE = socket.gethostname()


@pytest.fixture(params=["local", "s3"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(request.getfixturevalue("bucket") + "/d" if request.param == "s3" else str(tmp_path / "d"))


def holder(dataset: Folder) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((dataset / "runs").read("lock.json"))
    return facts


def leave(dataset: Folder, other: Holder) -> None:
    """A lock of some other run."""
    (dataset / "runs").write("lock.json", other.content())


def dead() -> Holder:
    """A process of this machine that has ended."""
    with subprocess.Popen(["true"]) as ended:
        pass
    return replace(Holder.here("theirs"), pid=ended.pid)


def refusal(pid: int, host: str) -> str:
    return rf"another run is writing to this dataset \(process {pid} on {re.escape(host)}\). Wait for it, or stop it"


HOLDER = """
import sys, time
from base.storage.folder import Folder
from dataset.lock import WriteLock
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
            assert read_chain(dataset / "runs")[-1].pid == os.getpid()


@pytest.mark.parametrize("wrong", [-10_000_000, 10_000_000], ids=["past", "future"])
def test_a_suspended_holder_keeps_its_lock_whatever_the_clock_says(dataset: Folder, wrong: int) -> None:
    """A stopped process beats no more, and a clock may be months off: neither says that it has ended."""
    with another_process(dataset) as other:
        os.kill(other.pid, signal.SIGSTOP)
        (dataset / "runs").write("lock.json", json.dumps(holder(dataset) | {"beat": time.time() + wrong}).encode())
        with pytest.raises(InputError, match=refusal(other.pid, HERE)), WriteLock(dataset, patience_s=0.1):
            pass
        os.kill(other.pid, signal.SIGCONT)
        other.kill()
        other.wait()
        with WriteLock(dataset):
            assert holder(dataset)["pid"] == other.pid  # the chain goes on from the dead holder
            assert read_chain(dataset / "runs")[-1].pid == os.getpid()
    assert not (dataset / "runs").files()


def test_a_process_number_given_to_another_process_is_not_the_holder(dataset: Folder) -> None:
    mine = Holder.here("theirs")
    leave(dataset, replace(mine, started=mine.started - 1))
    with WriteLock(dataset) as lock:
        lock.fence.check()


ELSEWHERE = {
    "an old version": Holder("theirs", "elsewhere", 7),
    "another boot": Holder("theirs", HERE, 7, "b pid:[1]", 5),
}


@pytest.mark.parametrize("other", ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_silent_lock_of_another_machine_is_left_to_a_person(dataset: Folder, other: Holder) -> None:
    leave(dataset, other)
    told: list[str] = []
    said = f"gave no sign of life in 0 s. If that run has certainly ended, release it with `motif unlock {dataset.uri}`"
    with pytest.raises(InputError, match=re.escape(said)), WriteLock(dataset, report=told.append, patience_s=0.2):
        pass
    assert "watching for 0 s whether it lives" in told[0]
    assert WriteLock(dataset, patience_s=0.2).release_other() == other
    assert not (dataset / "runs").files()
    with WriteLock(dataset):
        pass


@pytest.mark.parametrize("name", ["lock.json", "lock-theirs.beat"])
def test_a_lock_that_moves_on_another_machine_is_respected(dataset: Folder, name: str) -> None:
    other = Holder("theirs", "elsewhere", 7)
    leave(dataset, other)
    with beating(dataset, name, other):
        with pytest.raises(InputError, match=refusal(7, "elsewhere")), WriteLock(dataset, patience_s=30):
            pass
        with pytest.raises(InputError, match="holds this lock and is alive. Stop that process first"):
            WriteLock(dataset, patience_s=30).release_other()


@contextmanager
def beating(dataset: Folder, name: str, other: Holder) -> Iterator[None]:
    """Another machine's heartbeat: this version's counter, or the time that older versions wrote into the lock."""
    stop = threading.Event()

    def beat() -> None:
        count = 0
        while not stop.wait(0.1):
            count += 1
            (dataset / "runs").write(name, json.dumps(asdict(other) | {"beat": count}).encode())

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_lock_given_back_while_it_is_watched_is_taken(dataset: Folder) -> None:
    leave(dataset, Holder("theirs", "elsewhere", 7))
    threading.Timer(0.5, lambda: (dataset / "runs").delete("lock.json")).start()
    with WriteLock(dataset, patience_s=30) as lock:
        lock.fence.check()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"token": 5}', b"\xff\x00", b'{"token": "../x", "host": "h", "pid": 1}']
)
def test_a_damaged_lock_is_a_sentence(dataset: Folder, content: bytes) -> None:
    (dataset / "runs").write("lock.json", content)
    said = "lock.json is empty or damaged, so the holder of this dataset is unknown. If no run is writing to it, rel"
    with pytest.raises(InputError, match=said), WriteLock(dataset):
        pass
    assert WriteLock(dataset, patience_s=0.2).release_other() is not None
    with WriteLock(dataset) as lock:
        lock.fence.check()


def test_files_of_a_lock_that_name_each_other_are_a_sentence(dataset: Folder) -> None:
    leave(dataset, Holder("theirs", "elsewhere", 7))
    (dataset / "runs").write("lock-theirs.next", (dataset / "runs").read("lock.json"))
    with pytest.raises(InputError, match="damaged"), WriteLock(dataset):
        pass


def test_a_holder_that_lost_its_lock_stops(dataset: Folder) -> None:
    with WriteLock(dataset) as lock:
        pickle.loads(pickle.dumps(lock.fence)).check()
        lock.check()
        (dataset / "runs").write(f"lock-{lock.token}.next", Holder("theirs", "elsewhere", 7).content())
        said = r"has lost its lock of the dataset \(process 7 on elsewhere holds it now\), so it stops writing"
        with pytest.raises(Incomplete, match=said):
            lock.fence.check()
        (dataset / "runs").delete("lock.json")
        with pytest.raises(Incomplete, match="it was removed"):
            FenceWatch(lock.fence).check()


def test_a_fence_is_read_again_after_a_while(dataset: Folder) -> None:
    with WriteLock(dataset) as lock:
        watch = FenceWatch(lock.fence, every_s=0.3)
        watch.check()
        (dataset / "runs").delete("lock.json")
        watch.check()
        time.sleep(0.4)
        with pytest.raises(Incomplete):
            watch.check()


def test_the_process_of_this_machine_that_lives_cannot_be_unlocked(dataset: Folder) -> None:
    with another_process(dataset) as other, pytest.raises(InputError, match=f"process {other.pid} on .* is alive"):
        WriteLock(dataset).release_other()


def test_no_lock_to_release(dataset: Folder) -> None:
    assert WriteLock(dataset).release_other() is None


def test_a_lock_that_cannot_be_given_back_hides_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Folder(str(tmp_path / "d"))

    def refuse(folder: Folder, name: str) -> None:
        raise StorageError("no")

    monkeypatch.setattr(Folder, "delete", refuse)
    with pytest.raises(RuntimeError, match="the cause"), WriteLock(dataset):
        raise RuntimeError("the cause")
    with pytest.raises(InputError, match="another run is writing"), WriteLock(dataset):
        pass


def test_the_lock_of_another_is_not_deleted_at_exit(dataset: Folder) -> None:
    with WriteLock(dataset):
        leave(dataset, Holder("theirs", "elsewhere", 7))
    assert holder(dataset)["token"] == "theirs"


def test_a_lock_that_was_deleted_inside_is_no_error_at_exit(dataset: Folder) -> None:
    with WriteLock(dataset):
        (dataset / "runs").delete("lock.json")
    assert not (dataset / "runs").exists("lock.json")


def test_of_many_that_find_a_dead_lock_one_gets_it(tmp_path: Path) -> None:
    for attempt in range(10):
        dataset = Folder(str(tmp_path / str(attempt)))
        leave(dataset, dead())
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
    with WriteLock(dataset) as lock:
        beat, deadline = tmp_path / "runs" / f"lock-{lock.token}.beat", time.monotonic() + 40
        while not (beat.exists() and beat.read_text() == "1"):
            assert time.monotonic() < deadline, "no beat"
            time.sleep(0.2)
        lock.check()
    assert not list((tmp_path / "runs").iterdir())
