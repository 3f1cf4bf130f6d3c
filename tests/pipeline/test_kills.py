"""kill -9 of the driver, of a featurize actor and of a decode child at random moments: nothing is lost or doubled."""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.sprites.files import write_sprites
from pipeline.sprites.world import World
from tests.pipeline.conftest import part_bytes, reject_rows
from tests.processes import descendants

KILLS = 10
CLIPS = 48
VICTIMS = ("driver", "actor", "child")
# What tells them in their command lines.
MARKS = {"actor": "_Featurizer", "child": "pipeline.video.process.child"}


def start(manifest: Path, dataset: Path) -> subprocess.Popen[str]:
    command = [Path(sys.executable).parent / "motif", "preprocess", "sprites", "--manifest", manifest]
    command += ["--out", dataset, "--height", "128", "--width", "128", "--sampling.frames", "8"]
    command += ["--store.clips-a-part", "4", "--store.clips-a-row-group", "2", "--max-failed", "0.2"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "RAY_"))}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def strike(run: subprocess.Popen[str], victim: str, moment: float) -> bool:
    """Kill the victim at the first chance after ``moment``; False where the run ended before."""
    while run.poll() is None:
        if time.monotonic() >= moment:
            pids = [run.pid]
            if victim != "driver":
                pids = [pid for pid, command in descendants(run.pid) if MARKS[victim] in command]
            if pids:
                os.kill(random.choice(pids), signal.SIGKILL)
                return True
        time.sleep(0.01)  # between two looks at the clock
    return False


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_ten_kills(tmp_path: Path) -> None:
    manifest = write_sprites(tmp_path / "sprites", World(128, 128, 9), CLIPS, seed=3)
    broken = tmp_path / "sprites" / "videos" / "000005.mp4"
    broken.write_bytes(broken.read_bytes()[:1000])  # a reject, so that those are seen to survive too
    reference = tmp_path / "undisturbed"
    started = time.monotonic()
    undisturbed = start(manifest, reference)
    out, error = undisturbed.communicate()
    assert undisturbed.returncode == 0, error
    duration = time.monotonic() - started
    expected, rejects = part_bytes(reference), reject_rows(reference)

    draw = random.Random(0)
    kills, rounds, victims = 0, 0, itertools.cycle(VICTIMS)
    victim = next(victims)
    dataset = tmp_path / "disturbed"
    while True:
        run = start(manifest, dataset)
        begun = time.monotonic()
        # Up to three kills in one run, unless one of them is the driver's; close enough that most runs see theirs.
        while kills < KILLS and strike(run, victim, max(time.monotonic(), begun) + draw.uniform(0, 0.3 * duration)):
            kills += 1
            killed, victim = victim, next(victims)
            if killed == "driver":
                break
        out, error = run.communicate()
        rounds += 1
        assert run.returncode in (0, 5, -signal.SIGKILL), error
        assert "Traceback" not in error
        assert rounds < 4 * KILLS
        if run.returncode:
            continue
        account = json.loads(out)
        assert account["planned"] == account["written"] + account["filtered"] + account["failed"]
        assert part_bytes(dataset) == expected
        assert [row[:8] for row in reject_rows(dataset)] == [row[:8] for row in rejects]
        if kills == KILLS:
            break
        shutil.rmtree(dataset)
    again = start(manifest, dataset)
    out, error = again.communicate()
    assert again.returncode == 0, error
    assert json.loads(out)["planned"] == 0
    assert part_bytes(dataset) == expected
