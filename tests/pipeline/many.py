"""Many random histories or damages, on all cores: ``python -m tests.pipeline.many KIND FIRST LAST STEP FOLDER``.

In processes of their own, where shapes are not checked at every call: that takes half of the time, and the few that
`make test` plays are checked.
"""

import os
import subprocess
import sys
from pathlib import Path

from pipeline.graph.tasks import end_video_worker
from tests.pipeline.histories import make_library

_PROCESSES = 2


def play_all(kind: str, first: int, last: int, folder: Path) -> None:
    """Play the seeds from ``first`` to before ``last``; AssertionError with what the first failures said."""
    command = [sys.executable, "-m", "tests.pipeline.many", kind]
    running = [
        subprocess.Popen(
            [*command, str(first + number), str(last), str(_PROCESSES), str(folder / str(number))],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(_PROCESSES)
    ]
    try:
        said = [process.communicate()[0] for process in running]
    finally:
        for process in running:
            process.kill()
    for process, text in zip(running, said, strict=True):
        assert process.returncode == 0, text[-5000:]
    assert sum(text.count(" went well\n") for text in said) == last - first


def main(kind: str, first: int, last: int, step: int, folder: Path) -> None:
    """Play every ``step``-th seed."""
    from tests.pipeline.damage import run_damage
    from tests.pipeline.oracle import Oracle, run_history

    os.fsync = lambda descriptor: None
    library = make_library(folder / "library")
    oracle = Oracle(library)
    play = {"history": run_history, "damage": run_damage}[kind]
    for seed in range(first, last, step):
        try:
            play(seed, library, folder / str(seed), oracle)
        except BaseException as error:
            error.add_note(f"the {kind} of seed {seed}")
            raise
        sys.stdout.write(f"{kind} {seed} went well\n")
    end_video_worker()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
