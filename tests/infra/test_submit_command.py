"""`motif submit`: what it refuses before anything is sent, what it sends, and jobs on a real cluster."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from aiohttp import web

from base.errors import InputError
from infra.submission.cluster import Cluster, job_name
from infra.submission.project import PACKAGES, pack
from pipeline.sprites.files import write_sprites
from pipeline.sprites.world import World
from tests.infra.conftest import Motif
from tests.infra.dashboards import OUR_PYTHON, Dashboard, serving
from tests.pipeline.conftest import part_bytes
from tests.ports import free_port


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "preproces sprites",
            "motif submit preproces: there are preprocess, train, validate, sample, status",
        ),
        ("preprocess sprites --manifest videos --out /d", "--manifest videos: nodes of a cluster do not see this path"),
        ("preprocess sprites --manifest=/v --out=data/d", "--out data/d: nodes of a cluster do not see this path"),
        ("train sprites --data /a b --out /run", "--data b: nodes of a cluster do not see this path"),
        ("sample runs/toy --image /a.png --prompt a --out /a.mp4", "sample runs/toy: nodes of a cluster"),
        ("preprocess sprits --manifest /v --out /d", "Did you mean sprites?"),
        ("sample /run --image /a.png --out /a.mp4", "--prompt is missing"),
        ("preprocess sprites --manifest /v --out /d", "--address is missing: give the URL"),
        ("train sprites --out /run", "--data is missing"),
        ("train sprites --data /d", "--out is missing"),
        ("train motif --data /d --out /run --base_model models/a", "--base-model models/a: nodes of a cluster do not"),
        ("status --address", "--address: its value is missing"),
        ("stop --address http://127.0.0.1:1", "motif submit stop: give one job"),
        ("status --address 127.0.0.1:8265", "--address 127.0.0.1:8265: give the URL of the cluster's dashboard"),
        ("status --address http://head:82650", "--address http://head:82650: give the URL of the cluster's dashboard"),
    ],
)
def test_refusals(line: str, said: str, motif: Motif, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    status, out, message = motif("submit", *line.split())
    assert (status, out, len(message.splitlines())) == (2, "", 1), message
    assert said in message


@pytest.mark.parametrize(
    ("line", "usage"),
    [
        ("--address http://head:8265", "usage: motif submit COMMAND"),
        ("logs --help", "usage: motif submit COMMAND"),
        ("train", "usage: motif train RECIPE"),
        ("preprocess --detach", "usage: motif preprocess RECIPE"),
    ],
)
def test_what_is_not_yet_a_command_shows_the_usage(line: str, usage: str, motif: Motif) -> None:
    status, out, said = motif("submit", *line.split())
    assert (status, out.startswith(usage), said) == (0, True, "")


def test_nobody_there(motif: Motif, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    status, _, said = motif("submit", "status", "--address", f"http://127.0.0.1:{free_port()}")
    assert (status, "nothing answers there" in said, len(said.splitlines())) == (2, True, 1)
    assert "RAY_AUTH_MODE" not in os.environ  # else a Ray that a later test starts here asks for a token


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (None, r"the jobs of this cluster cannot be used \(.*RAY_AUTH_TOKEN"),
        ({"rayVersion": "2.9.3", "pythonVersion": "3.11.7"}, r"has Ray 2\.9\.3, this machine 2\."),
        ({"rayVersion": ray.__version__, "pythonVersion": "3.9.18"}, rf"has Python 3\.9, this machine {OUR_PYTHON}\."),
    ],
)
def test_clusters_of_others(metadata: dict[str, str] | None, said: str) -> None:
    with serving(Dashboard(metadata)) as dashboard, pytest.raises(InputError, match=said):
        Cluster(dashboard.address)


def test_the_patch_version_of_python_may_differ() -> None:
    with serving(Dashboard({"rayVersion": ray.__version__, "pythonVersion": f"{OUR_PYTHON}.99"})) as dashboard:
        Cluster(dashboard.address)


def test_what_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "mine"
    own.mkdir()
    (own / "__init__.py").write_text("")
    (own / "recipes.py").write_text("def clips(): ...")
    (tmp_path / "saved.json").write_text("{}")
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "sent"
    folder.mkdir()
    line = ["preprocess", "mine.recipes:clips", "--manifest", "s3://b/v", "--config", str(tmp_path / "saved.json")]
    (own / ".env").write_text("AWS_SECRET_ACCESS_KEY=1")
    packed = pack(folder, line)
    assert packed[:-1] == line[:-1]
    assert (folder / packed[-1]).read_text() == "{}"
    assert {path.name for path in folder.iterdir()} == {*PACKAGES, "mine", packed[-1]}
    assert not [path for path in folder.rglob("*") if path.name.startswith((".", "__pycache__"))]
    done = subprocess.run([sys.executable, "-m", "infra", "--version"], cwd=folder, capture_output=True, text=True)
    assert done.stdout.startswith("motif ")
    with pytest.raises(InputError, match="recipe 'nobodys': there is no package of this name"):
        pack(Path(tempfile.mkdtemp(dir=tmp_path)), ["train", "nobodys.recipes:clips"])


def test_another_configuration_is_another_job(tmp_path: Path) -> None:
    """Though its file may have the same name."""
    names = set()
    for content in ("{}", "[]", "{}"):
        (tmp_path / "saved.json").write_text(content)
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        names.add(job_name(pack(folder, ["train", "--config", str(tmp_path / "saved.json"), "--out", "/run"])))
    assert len(names) == 2


@pytest.mark.parametrize("init", [True, False])
def test_a_package_of_recipes_without_data(init: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python finds it without __init__.py, too; what is large is no source, unless it is hidden."""
    own = tmp_path / f"own_{init}"
    (own / ".git").mkdir(parents=True)
    (own / "recipes.py").write_text("")
    if init:
        (own / "__init__.py").write_text("")
    (folder := tmp_path / "sent").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    for name in (".git/objects", "weights.bin"):
        with (own / name).open("wb") as file:
            file.truncate(101 << 20)
    with pytest.raises(InputError, match=f"own_{init} has 101 MiB, .* at most 100"):
        pack(folder, ["train", f"own_{init}.recipes:clips"])
    (own / "weights.bin").unlink()
    pack(Path(tempfile.mkdtemp(dir=tmp_path)), ["train", f"own_{init}.recipes:clips"])


CORE, GPU, NOTHING = {"entrypoint_num_cpus": 1}, {"entrypoint_num_gpus": 1}, dict[str, int]()


@pytest.mark.parametrize(
    ("line", "gpus", "share"),
    [
        ("preprocess sprites --manifest /m --out /d", 1, NOTHING),
        ("train sprites --data /d --out /r --workers 2 --hardware.micro-batch 1", 1, NOTHING),
        ("train sprites --data /d --out /r", 1, GPU),
        ("train sprites --data /d --out /r", 0, CORE),
        ("sample /r --image /a.png --prompt x --out /a.mp4", 1, GPU),
        ("sample /r --image /a.png --prompt x --out /a.mp4 --device cpu", 1, CORE),
        ("validate /r --data /d --device cuda", 0, GPU),
    ],
)
def test_a_command_that_computes_by_itself_is_given_a_node(
    line: str, gpus: int, share: dict[str, int], motif: Motif
) -> None:
    """Otherwise Ray would start it on the head, which may have no GPU, and should run no work."""
    asked: list[dict[str, Any]] = []

    def answer(dashboard: Dashboard, job: dict[str, Any]) -> web.Response:
        asked.append(job)
        dashboard.has(job["submission_id"], "PENDING")
        return web.json_response({"job_id": "1", "submission_id": job["submission_id"]})

    with serving(Dashboard(nodes=[{}, {"CPU": 2.0, "GPU": float(gpus)}], submitted=answer)) as dashboard:
        status, _, said = motif("submit", *line.split(), "--detach", "--address", dashboard.address)
    assert status == 0, said
    assert {name: value for name, value in asked[0].items() if name.startswith("entrypoint_") and value} == share


def test_names_of_jobs() -> None:
    first = ["preprocess", "sprites", "--out", "/a"]
    assert job_name(first) == job_name(list(first)) != job_name([*first[:-1], "/b"])
    assert job_name(first).startswith("motif-preprocess-")


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """A head as `ray start` makes it; yields the environment of a shell that knows its address."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "RAY_"))}
    files = tempfile.mkdtemp(prefix="ray-")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # jobs run the python of the head's shell
    environment |= {"RAY_TMPDIR": files, "PATH": path}
    port, gcs = free_port(), free_port()
    head = f"start --head --block --port {gcs} --num-cpus 2 --object-store-memory {200 << 20} --dashboard-port {port}"
    command = [Path(sys.executable).with_name("ray"), *head.split(), "--disable-usage-stats"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        environment["RAY_API_SERVER_ADDRESS"] = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while submit(environment, "status").returncode:
            assert process.poll() is None
            assert time.monotonic() < deadline
        yield environment
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(files, ignore_errors=True)


def submit(environment: dict[str, str], *args: object) -> "subprocess.CompletedProcess[str]":
    command = [Path(sys.executable).with_name("motif"), "submit", *map(str, args)]
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=400)


def line_of(manifest: Path, out: Path) -> list[object]:
    small = "--height 64 --width 64 --sampling.frames 8 --store.clips-a-part 2 --store.clips-a-row-group 2"
    return ["preprocess", "sprites", "--manifest", manifest, "--out", out, *small.split()]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif("MOTIF_LONG_TESTS" not in os.environ, reason="takes up to eight minutes; set MOTIF_LONG_TESTS=1")
def test_a_job_that_is_killed_and_submitted_again(cluster: dict[str, str], tmp_path: Path) -> None:
    """Start to end from a clean shell, with the bytes of a run that nothing stopped, and of one on this machine."""
    manifest = write_sprites(tmp_path / "sprites", World(height=64, width=64, frames=12), 16, seed=2)
    whole = submit(cluster, *line_of(manifest, tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr
    ended = json.loads(whole.stdout)
    assert ended["status"] == "SUCCEEDED"
    assert '"complete": true' in whole.stderr
    line = line_of(manifest, tmp_path / "killed")
    job = json.loads(submit(cluster, *line, "--detach").stdout)["job"]
    deadline = time.monotonic() + 200
    while not list((tmp_path / "killed" / "clips").glob("*.parquet")):
        assert time.monotonic() < deadline
    stopped = submit(cluster, "stop", job)
    assert (stopped.returncode, stopped.stderr.strip()) == (0, f"{job}: STOPPED")
    again = submit(cluster, *line)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["job"] == f"{job}-2"
    assert part_bytes(tmp_path / "killed") == part_bytes(tmp_path / "whole")
    listed = submit(cluster, "status").stdout.splitlines()
    assert [row.split()[:2] for row in listed] == [
        [f"{job}-2", "SUCCEEDED"], [job, "STOPPED"], [ended["job"], "SUCCEEDED"]
    ]  # fmt: skip
    refused = submit(cluster, *line_of(tmp_path / "nowhere", tmp_path / "d"))
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert json.loads(refused.stdout)["status"] == "FAILED"
    unknown = submit(cluster, "logs", "motif-train-1")
    assert (unknown.returncode, "has no job of this name" in unknown.stderr) == (2, True)
