"""A server on two nodes whose head is killed and comes back: its state is in Redis, as in infra/kuberay/serve."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml

from serving.generate.models import ServedModel
from tests.conftest import ROOT
from tests.ports import free_port
from tests.processes import descendants
from tests.serving.calls import create, events

PASSWORD = "not a secret"
BIN = Path(sys.executable).parent


class Nodes:
    """A Redis, a head without cores and a worker node with two, each in a process group of its own."""

    def __init__(self, folder: Path) -> None:
        self.redis, self.gcs, self.dashboard = free_port(), free_port(), free_port()
        self.logs = folder / "logs"
        self.groups: list[subprocess.Popen[bytes]] = []
        hidden = ("AWS_", "RAY_")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
        self.environment |= {
            "PYTHONPATH": str(ROOT),
            "RAY_AUTH_MODE": "disabled",
            "RAY_REDIS_ADDRESS": f"127.0.0.1:{self.redis}",
            "RAY_TMPDIR": tempfile.mkdtemp(prefix="ray-"),
            "RAY_gcs_rpc_server_reconnect_timeout_s": "300",  # of a worker node: a head starts slowly on a busy machine
        }
        self.run("redis-server", f"--port {self.redis} --requirepass".split(), PASSWORD, "--dir", str(folder))

    def run(self, program: str, first: list[str], *more: str) -> "subprocess.Popen[bytes]":
        with self.logs.open("ab") as log:
            process = subprocess.Popen(
                [program, *first, *more], stdout=log, stderr=log, env=self.environment, start_new_session=True
            )
        self.groups.append(process)
        return process

    def start(self, *options: str) -> "subprocess.Popen[bytes]":
        fixed = ["start", "--block", "--redis-password", PASSWORD]
        return self.run(str(BIN / "ray"), fixed, *options)

    def start_head(self) -> "subprocess.Popen[bytes]":
        # With this file Ray takes the worker node's processes for another head's. A new machine has none.
        Path(self.environment["RAY_TMPDIR"], "ray/ray_current_cluster").unlink(missing_ok=True)
        ports = f"--port={self.gcs}", f"--dashboard-port={self.dashboard}"
        return self.start("--head", "--num-cpus=0", *ports)

    def end(self) -> None:
        for group in reversed(self.groups):
            kill(group)
        shutil.rmtree(self.environment["RAY_TMPDIR"], ignore_errors=True)


def kill(group: "subprocess.Popen[bytes]") -> None:
    """Kill -9 a process and all that it has started, also what is in groups of its own, as a machine is lost."""
    for pid in [group.pid, *(pid for pid, _ in descendants(group.pid))]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    group.wait()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    started = Nodes(tmp_path)
    try:
        yield started
    finally:
        started.end()


def deploy(nodes: Nodes, model: ServedModel, folder: Path, port: int) -> None:
    """The application as `serve run` deploys it from a file."""
    config = {
        "models": [{"name": "tiny", "uri": model.uri}],
        "settings": {"folder": str(folder / "served")},
        "compute": {"precision": "float32", "device": "cpu"},
        "replicas": {"api": 2, "cpus": 1.0, "gpus": 0.0},
    }
    application = {
        "name": "motif",
        "import_path": "serving.deploy.app:build",
        "args": config,
        # Not on the head, as in infra/kuberay/serve.
        "deployments": [{"name": "api", "ray_actor_options": {"num_cpus": 0.5}}],
    }
    file = {"http_options": {"host": "127.0.0.1", "port": port}, "applications": [application]}
    (folder / "serve.yaml").write_text(yaml.safe_dump(file))
    address = f"127.0.0.1:{nodes.gcs}"
    command = [BIN / "serve", "run", "--non-blocking", "--address", address, folder / "serve.yaml"]
    deadline = time.monotonic() + 120
    while (done := subprocess.run(command, env=nodes.environment, capture_output=True, text=True)).returncode:
        assert time.monotonic() < deadline, done.stderr
        assert "connect" in done.stderr.lower(), done.stderr  # the head is still starting


def wait_until_ready(client: httpx2.Client, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx2.TransportError):
            if client.get("/ready").status_code == 200:
                return
        assert time.monotonic() < deadline, "the server does not answer"
        time.sleep(0.2)  # between two questions


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif("MOTIF_LONG_TESTS" not in os.environ, reason="takes several minutes; set MOTIF_LONG_TESTS=1")
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed (Debian's package)")
def test_a_server_outlives_its_head(nodes: Nodes, tiny: ServedModel, tmp_path: Path) -> None:
    head = nodes.start_head()
    nodes.start(f"--address=127.0.0.1:{nodes.gcs}", "--num-cpus=2")
    port = free_port()
    deploy(nodes, tiny, tmp_path, port)
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        wait_until_ready(client, 240)
        before = create(client)["id"]
        assert events(client, before)[-1][0] == "completed"

        kill(head)
        # The worker node's proxy and replicas go on without the head.
        wait_until_ready(client, 120)
        without = create(client)["id"]
        assert events(client, without)[-1][0] == "completed"

        nodes.start_head()
        deadline = time.monotonic() + 240
        dashboard = f"http://127.0.0.1:{nodes.dashboard}"
        status = [BIN / "serve", "status", "--name", "motif", "--address", dashboard]
        said = ""
        while "RUNNING" not in said:
            assert time.monotonic() < deadline, f"Serve does not come back: {said}"
            time.sleep(1)  # between two questions
            done = subprocess.run(status, env=nodes.environment, capture_output=True, text=True)
            said = done.stdout or done.stderr
        wait_until_ready(client, 120)
        after = create(client)["id"]
        assert events(client, after)[-1][0] == "completed"
        assert {video["id"] for video in client.get("/v1/videos").json()["data"]} == {before, without, after}
