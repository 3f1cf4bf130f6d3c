"""The process around commands that join Ray ends as the command does, and says what Ray does not."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from base.errors import RayletEnded

PROGRAM = """
import atexit, os, signal, sys, time
from infra.guard import Guard
for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # whatever started the tests may ignore some
    signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
atexit.register(Guard().ends)
print(os.getpid(), flush=True)
{act}
"""
WAIT = """
try:
    print("waits", flush=True)
    for _ in range(600):  # a signal that comes as a sleep begins is seen when the sleep ends
        time.sleep(0.1)
except KeyboardInterrupt:
    sys.exit(130)
"""


@contextmanager
def guarded(act: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A program in a guard, and the process id of the program itself."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", PROGRAM.format(act=act)], stdout=pipe, stderr=pipe, text=True)
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("act", "status"),
    [
        ("", 0),
        ("sys.exit(1)", 1),
        ("sys.exit(4)", 4),
        ("os._exit(5)", 5),
        ("raise ValueError", 1),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV),
    ],
)
def test_it_ends_as_the_command_does(act: str, status: int) -> None:
    with guarded(act) as (process, _):
        _, error = process.communicate(timeout=30)
        assert process.returncode == status
        assert "motif:" not in error
        assert ("ValueError" in error) == ("ValueError" in act)


@pytest.mark.parametrize("before", ["", "os.fork() or (os.close(1), os.close(2), time.sleep(20))"])
def test_an_end_without_a_word_is_of_rays_doing(before: str) -> None:
    """Also where a process that the command leaves behind holds its pipes."""
    with guarded(f"{before}\nos._exit(1)") as (process, _):
        assert process.wait(timeout=30) == RayletEnded.exit_code
        assert process.stderr is not None
        assert process.stderr.readline() == f"motif: {RayletEnded()}\n"


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -15), (signal.SIGHUP, -1)])
def test_signals_are_passed_on(sent: signal.Signals, status: int) -> None:
    with guarded(WAIT) as (process, program):
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        process.send_signal(sent)
        assert process.wait(timeout=30) == status
        assert not Path(f"/proc/{program}").exists()


def test_a_terminals_interrupt_arrives_once() -> None:
    """A terminal sends it to both processes."""
    act = """
count = []
signal.signal(signal.SIGINT, lambda *_: count.append(1))
print("set", flush=True)
deadline = time.monotonic() + 30
while not count and time.monotonic() < deadline:
    time.sleep(0.01)
time.sleep(0.5)
print(len(count), flush=True)
"""
    there, here = os.openpty()
    command = ["setsid", "--ctty", "--wait", sys.executable, "-c", PROGRAM.format(act=act)]
    process = subprocess.Popen(command, stdin=here, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    assert process.stdout.readline() == "set\n"
    os.write(there, b"\x03")
    assert process.stdout.read() == "1\n"
    assert process.wait(timeout=30) == 0
    process.stdout.close()
    os.close(there)
    os.close(here)


def test_it_takes_the_command_along() -> None:
    """As where a user or a scheduler kills it: what the command is must not go on without it."""
    with guarded(WAIT) as (process, program):
        process.kill()
        process.wait()
        deadline = time.monotonic() + 30
        while Path(f"/proc/{program}").exists() and "Z" not in Path(f"/proc/{program}/stat").read_text().split()[2]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
