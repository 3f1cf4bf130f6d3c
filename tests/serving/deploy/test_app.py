"""The server on Ray Serve: several processes, lost processes, rushes, restarts."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
import yaml

from base.errors import InputError
from diffusion.options import SamplingChanges
from serving.deploy.app import Running, build
from serving.deploy.config import Config, Place, Replicas, read_config
from serving.deploy.resolve import describe_all
from serving.generate.models import ServedModel
from serving.jobs.store import JobStore
from serving.settings import Settings
from tests.ports import free_port
from tests.serving.calls import create, events, png, refusal

pytestmark = pytest.mark.slow
MOTIF = str(Path(sys.executable).with_name("motif"))


@pytest.fixture(scope="module")
def config(tiny: ServedModel, tmp_path_factory: pytest.TempPathFactory) -> Config:
    settings = Settings(folder=str(tmp_path_factory.mktemp("app") / "served"), queue=16)
    models, sampling = (Place("tiny", tiny.uri),), SamplingChanges(steps=tiny.defaults.steps)
    return Config(models, settings, replicas=Replicas(api=2), sampling=sampling)


@pytest.fixture(scope="module")
def url(ray_cluster: None, config: Config) -> Iterator[str]:
    port = free_port()
    with Running(config, describe_all(config), "127.0.0.1", port) as running:
        assert running.seconds.keys() >= {"serve", "application"}
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def client(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, timeout=120) as opened:
        yield opened


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def processes(name: str, of: int = os.getpid()) -> list[int]:
    """The processes of a deployment on the Ray that process ``of`` started: children of its raylet."""
    found = subprocess.run(["pgrep", "-f", f"^ray::ServeReplica:motif:{name}"], capture_output=True, text=True)
    return [pid for pid in map(int, found.stdout.split()) if parent(parent(pid)) == of]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_every_process_knows_every_job(client: httpx2.Client, url: str) -> None:
    assert len(processes("api")) == 2
    video = create(client)
    assert events(client, video["id"])[-1][0] == "completed"
    for _ in range(20):  # each on a connection of its own, so that both processes answer
        assert httpx2.get(f"{url}/v1/videos/{video['id']}").json()["status"] == "completed"
    assert client.get(f"/v1/videos/{video['id']}/content").content[4:8] == b"ftyp"


def test_serve_does_not_list_its_applications(client: httpx2.Client) -> None:
    assert refusal(client.get("/-/routes"))[:2] == (404, "not_found")
    assert client.get("/-/healthz").status_code == 200


def test_a_rush_is_answered_whole(url: str) -> None:
    def ask(number: int) -> httpx2.Response:
        files = {"input_reference": ("a.png", png(number), "image/png")}
        return httpx2.post(
            f"{url}/v1/videos", data={"prompt": "a", "num_inference_steps": "1"}, files=files, timeout=120
        )

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, range(100)))
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses.keys() <= {200, 429}
    assert statuses[429] > 0
    for answer in answers:
        if answer.status_code == 429:
            assert refusal(answer)[1] == "queue_full"
            assert int(answer.headers["retry-after"]) >= 1
    wanted = [answer.json()["id"] for answer in answers if answer.status_code == 200]

    def ended(video_id: str) -> bool:
        return httpx2.get(f"{url}/v1/videos/{video_id}").json()["status"] == "completed"

    for video_id in wanted:
        until(lambda video_id=video_id: ended(video_id))  # type: ignore[misc]


def test_cancel_frees_the_worker(client: httpx2.Client) -> None:
    video = create(client, num_inference_steps="200")
    until(lambda: client.get(f"/v1/videos/{video['id']}").json()["progress"] > 0)
    client.delete(f"/v1/videos/{video['id']}")
    after = create(client, num_inference_steps="1")
    assert events(client, after["id"])[-1][0] == "completed"


def test_a_disconnect_cancels_a_sync_request(client: httpx2.Client, config: Config) -> None:
    files = {"input_reference": ("a.png", png(), "image/png")}
    with pytest.raises(httpx2.TimeoutException):
        client.post("/v1/videos/sync", data={"prompt": "a", "num_inference_steps": "200"}, files=files, timeout=1.0)
    until(lambda: client.get("/ready").json()["in_progress"] == client.get("/ready").json()["queued"] == 0)
    assert all(video["num_inference_steps"] < 200 for video in client.get("/v1/videos").json()["data"])


def test_a_worker_killed_mid_run(client: httpx2.Client) -> None:
    video = create(client, num_inference_steps="200")
    until(lambda: client.get(f"/v1/videos/{video['id']}").json()["progress"] > 0)
    (worker,) = processes("worker")
    os.kill(worker, signal.SIGKILL)
    until(lambda: client.get(f"/v1/videos/{video['id']}").json()["status"] == "failed")
    assert client.get(f"/v1/videos/{video['id']}").json()["error"]["code"] == "worker_lost"
    assert refusal(client.get(f"/v1/videos/{video['id']}/content"))[:2] == (422, "generation_failed")
    after = create(client, num_inference_steps="1")
    assert events(client, after["id"])[-1][0] == "completed"


@contextlib.contextmanager
def stopped(process: int) -> Iterator[None]:
    """A process that stands still, so that what waits for it waits."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def test_what_serve_says_itself_has_the_envelope(client: httpx2.Client, url: str) -> None:
    until(lambda: len(processes("worker")) == 1)
    files = {"input_reference": ("a.png", png(), "image/png")}
    with stopped(processes("worker")[0]), ThreadPoolExecutor() as pool:
        waiting = pool.submit(httpx2.post, f"{url}/v1/videos/sync", data={"prompt": "a"}, files=files, timeout=120)
        until(lambda: client.get("/ready").json()["queued"] == 1)
        for process in processes("api"):
            os.kill(process, signal.SIGKILL)
        answer = waiting.result()
    assert answer.status_code in (500, 503)
    assert refusal(answer)[1] in ("internal_error", "unavailable")
    assert "Traceback" not in answer.text

    def back() -> bool:
        with httpx2.Client(base_url=url, timeout=60) as fresh:
            return fresh.get("/ready").status_code == 200

    until(back)


def test_a_config_file_says_the_same(config: Config, tmp_path: Path) -> None:
    data = yaml.safe_load(yaml.safe_dump(json.loads(json.dumps(config.to_dict()))))
    assert read_config(data) == config
    with pytest.raises(InputError, match="no field 'settings.que'. Did you mean 'queue'"):
        read_config({**data, "settings": {"que": 1}})
    with pytest.raises(InputError, match="replicas: .*at least 1"):
        read_config({**data, "replicas": {"api": 0}})
    other = replace(config, settings=replace(config.settings, folder=str(tmp_path)))
    application = build(json.loads(json.dumps(other.to_dict())))
    assert type(application).__name__ == "Application"


@contextlib.contextmanager
def started(tiny: ServedModel, folder: Path) -> "Iterator[tuple[subprocess.Popen[str], httpx2.Client]]":
    """`motif serve` as a process of its own, ready, and a client of it; killed at the end where it still runs."""
    port = free_port()
    command = [MOTIF, "serve", tiny.uri, "--port", str(port), "--folder", str(folder), "--drain-seconds", "600"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, cwd=folder.parent) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                pytest.fail(process.communicate()[1])
            told = json.loads(line)
            assert (told["url"], told["models"]) == (f"http://127.0.0.1:{port}", ["tiny"])
            with httpx2.Client(base_url=told["url"], timeout=120) as client:
                yield process, client
        finally:
            process.kill()


@pytest.mark.timeout(900)
def test_motif_serve_from_start_to_restart(tiny: ServedModel, tmp_path: Path) -> None:
    folder = tmp_path / "served"
    with started(tiny, folder) as (process, client):
        assert "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text()  # 570 MB that nothing here uses
        done = create(client, num_inference_steps="1")["id"]
        assert events(client, done)[-1][0] == "completed"
        running = create(client, num_inference_steps="200")["id"]
        until(lambda: client.get(f"/v1/videos/{running}").json()["progress"] > 0)
        (worker,) = processes("worker", process.pid)
        for pid in (worker, process.pid):  # as when the machine goes down: the worker could end the job by itself
            os.kill(pid, signal.SIGKILL)
    with started(tiny, folder) as (process, client):
        assert client.get(f"/v1/videos/{done}/content").content[4:8] == b"ftyp"
        second = [MOTIF, "serve", tiny.uri, "--port", str(free_port()), "--folder", str(folder)]
        refused = subprocess.run(second, capture_output=True, text=True)
        assert (refused.returncode, "another server uses it" in refused.stderr) == (2, True)
        until(lambda: client.get(f"/v1/videos/{running}").json()["status"] == "failed")  # its worker's lease ends
        assert client.get(f"/v1/videos/{running}").json()["error"]["code"] == "server_restarted"
        last = create(client, num_inference_steps="100")["id"]
        until(lambda: client.get(f"/v1/videos/{last}").json()["status"] != "queued")
        process.send_signal(signal.SIGTERM)
        out, said = process.communicate(timeout=600)
        assert (process.returncode, out) == (0, "")
        assert "1 running job is finished first (at most 600 s, --drain-seconds); press Ctrl+C again" in said
        assert [line for line in said.splitlines() if line.startswith(("starting ", "loading "))] == [
            "starting Ray",
            "starting Serve",
            "loading tiny",
        ]
    store = JobStore(f"sqlite:///{folder / 'jobs.sqlite'}")
    job = store.get("", last)
    store.close()
    assert job is not None
    assert job.status == "completed"
