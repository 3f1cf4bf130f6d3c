"""Runs that share a cluster, on clusters of their own whose workers have another working directory than the user."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from base.errors import Incomplete
from base.ray_session import start_ray
from pipeline.graph.layout import HELD_CPUS, PROBE_CPUS, WRITE_CPUS, lay_out
from pipeline.recipes import Resources
from pipeline.sprites.files import write_sprites
from pipeline.sprites.world import World
from pipeline.video.geometry import ClipShape
from tests.clusters import cluster_of
from tests.pipeline.conftest import part_bytes
from tests.processes import descendants, processes

TASK = """
import sys, time, ray
ray.init(log_to_driver=False)
hold = ray.remote(num_cpus=1)(lambda seconds: time.sleep(seconds))
taken = [hold.remote(float(sys.argv[1])) for _ in range(int(sys.argv[2]))]
while ray.available_resources().get("CPU", 0) >= 1:
    time.sleep(0.2)
print("held", flush=True)
ray.get(taken)
"""


def start(out: str, place: Path, environment: dict[str, str]) -> "subprocess.Popen[str]":
    """A run in ``place`` over ``place``/sprites, all its paths relative."""
    command = [
        str(Path(sys.executable).parent / "motif"),
        "preprocess",
        "sprites",
        "--manifest",
        "sprites/manifest.csv",
    ]
    command += ["--out", out, "--height", "128", "--width", "128", "--sampling.frames", "8"]
    command += ["--store.clips-a-part", "4", "--store.clips-a-row-group", "2", "--columns.root", "sprites"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=place)


def finish(run: "subprocess.Popen[str]") -> str:
    """What a run said; it must have ended well."""
    try:
        out, error = run.communicate(timeout=300)
    finally:
        run.kill()
    assert run.returncode == 0, error
    assert json.loads(out)["complete"]
    assert "Traceback" not in error
    return error


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_runs_on_one_core_and_a_job_that_holds_it(tmp_path: Path) -> None:
    write_sprites(tmp_path / "sprites", World(128, 128, 9), 16, seed=3)
    with cluster_of(1, tmp_path / "elsewhere") as environment:
        runs = [start(f"data/{name}", tmp_path, environment) for name in ("one", "two")]
        for run in runs:
            finish(run)
        assert part_bytes(tmp_path / "data" / "one") == part_bytes(tmp_path / "data" / "two") != {}
        holder = subprocess.Popen(
            [sys.executable, "-c", TASK, "60", "1"], stdout=subprocess.PIPE, text=True, env=environment
        )
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            assert (
                "waiting: other work on the cluster holds its only core; this run continues once there is room"
                in finish(start("data/three", tmp_path, environment))
            )
        finally:
            holder.communicate()
    assert part_bytes(tmp_path / "data" / "three") == part_bytes(tmp_path / "data" / "one")
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("runs", [1, 2, 8])
@pytest.mark.parametrize("cluster", [{"CPU": 1.0}, {"CPU": 2.0}, {"CPU": 64.0}, {"CPU": 1.0, "GPU": 1.0}])
def test_what_runs_keep_leaves_room_for_any_task(cluster: dict[str, float], runs: int) -> None:
    """Actors and the task that reads the work live as long as a run; the rest of the cores goes from task to task."""
    layout = lay_out(Resources(), ClipShape(16, 256, 256), 100_000, 64, cluster)
    kept = runs * (layout.featurizers * layout.actor["num_cpus"] + 2 * HELD_CPUS)
    assert kept + max(layout.decode_cpus, WRITE_CPUS, PROBE_CPUS) <= cluster["CPU"]


def test_ray_is_started_once_more_where_it_took_too_long() -> None:
    tries: list[int] = []

    def init() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise Exception("The current node timed out during startup.")  # noqa: TRY002 - as Ray does

    start_ray(init, lambda: None)
    assert len(tries) == 2


@pytest.mark.parametrize(("message", "expected"), [("timed out during startup", 2), ("no such address", 1)])
def test_ray_that_does_not_start_is_a_sentence(message: str, expected: int) -> None:
    tries: list[int] = []

    def init() -> None:
        tries.append(1)
        raise ConnectionError(message)

    with pytest.raises(Incomplete, match=f"Ray did not start: {message} Run `motif doctor` for details."):
        start_ray(init, lambda: None)
    assert len(tries) == expected


def test_a_cluster_that_may_ask_for_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray says only that it could not connect."""
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")

    def init() -> None:
        raise ConnectionError("Failed to connect to Ray cluster at 127.0.0.1:6379")

    with pytest.raises(Incomplete, match=r"at 127.0.0.1:6379 If the cluster asks for a token, set RAY_AUTH_MODE=token"):
        start_ray(init, lambda: None)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("moment", ["raylet/raylet", "ray::Monitor", "pipeline.video.process.child", "_Featurizer"])
def test_the_end_of_the_raylet_is_a_sentence(moment: str, tmp_path: Path) -> None:
    """Whatever the run is at: Ray is starting, has been joined, videos are decoded, or clips are featurized."""
    write_sprites(tmp_path / "sprites", World(128, 128, 9), 16, seed=3)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "RAY_"))}
    run = start("data", tmp_path, environment)
    try:
        while not any(moment in command for _, command in descendants(run.pid)):
            assert run.poll() is None
            time.sleep(0.1)
        # The child of the command itself: those of the raylet have its name, too, until they are what they are to be.
        table = processes()
        (raylet,) = [
            pid
            for pid, (parent, command) in table.items()
            if command.split(" ")[0].endswith("raylet/raylet") and table.get(parent, (0, ""))[0] == run.pid
        ]
        os.kill(raylet, signal.SIGKILL)
        _, error = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == Incomplete.exit_code, error
    told = [line for line in error.splitlines() if "raylet" in line]
    assert len(told) == 1
    assert told[0].startswith("motif: Ray's own process on this machine (the raylet) has ended")
    assert "Traceback" not in error
