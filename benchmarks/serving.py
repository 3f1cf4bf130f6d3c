"""What the endpoint costs beside the network, how it stands a rush, and how long it takes to be ready.

    python -m benchmarks.serving [--rounds 100] [--save]

- overhead: create, poll and download one after the other, against three bare FastAPI routes on the same Ray Serve that
  take the same upload, answer as much JSON and give the same bytes; medians of milliseconds, in turn. Nobody generates
  meanwhile: the jobs stay queued, and one finished video is put into the store by hand.
- rush: 200 requests at once against a queue of 32, 20 times; answers by status, and the memory of the process that
  answers after the fifth rush, when its threads have all been there, and after the last.
- start: ``motif serve`` with a toy model of random weights, from the command to the first answer, by phase.
"""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import numpy as np
import ray
from fastapi import FastAPI, Request, Response
from PIL import Image
from ray import serve

from base.storage.folder import Folder
from benchmarks.generation import toy
from benchmarks.report import alternate, arguments, report
from serving.deploy.app import Api
from serving.deploy.setup import open_store
from serving.generate.describe import describe
from serving.generate.files import Files
from serving.generate.models import ServedModel
from serving.settings import Settings

QUEUE, RUSH, RUSHES, WARM = 32, 200, 20, 5
bare = FastAPI()


@serve.deployment(name="bare", ray_actor_options={"num_cpus": 0}, max_ongoing_requests=10_000)
@serve.ingress(bare)
class Bare:
    """The least that a route of the kind can do."""

    def __init__(self, answer: dict[str, Any], video: bytes) -> None:
        self.answer, self.video = answer, video

    @bare.post("/create")
    async def create(self, request: Request) -> dict[str, Any]:
        """Take the upload."""
        async with request.form() as form:
            upload = form["input_reference"]
            assert not isinstance(upload, str)
            await upload.read()
        return self.answer

    @bare.get("/poll")
    async def poll(self) -> dict[str, Any]:
        """Answer JSON."""
        return self.answer

    @bare.get("/content")
    async def content(self) -> Response:
        """Give the bytes."""
        return Response(self.video, media_type="video/mp4")


@serve.deployment(name="worker")
class Nobody:
    """A worker that never takes a job."""

    def work(self) -> int:
        """Nothing."""
        return 0


def main() -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--starts", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = describe("toy", str(toy(Path(folder))))
        started = [cold_start(model, Path(folder) / f"start{number}") for number in range(options.starts)]
        start = {phase: median(found[phase] for found in started) for phase in started[0]}
        figures = measure(model, Settings(folder=f"{folder}/served", queue=QUEUE), options.rounds)
    goals = {
        "overhead <= 3": figures["overhead"]["all three"] <= 3,
        "every request is answered": figures["rush"]["answers"].keys() <= {"200", "429"},
        "memory flat": figures["rush"]["megabytes_last"] <= 1.05 * figures["rush"]["megabytes_warm"],
    }
    report("serving", {**figures, "start_s": start}, goals)


def measure(model: ServedModel, settings: Settings, rounds: int) -> dict[str, Any]:
    """Overhead and rush, on one Ray Serve."""
    store = open_store(settings)
    store.upkeep.start_run("benchmark", alone=True)
    port = free_port()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    api = serve.deployment(Api, name="api", max_ongoing_requests=10_000, ray_actor_options={"num_cpus": 0})
    worker = Nobody.bind()  # type: ignore[attr-defined] # added by the decorator
    serve.run(api.bind(settings, [model], worker), name="motif", route_prefix="/")
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        video = make_video(client, settings)
        found = client.get(f"/v1/videos/{video}")
        content = client.get(f"/v1/videos/{video}/content").content
        peer = Bare.bind(found.json(), content)  # type: ignore[attr-defined]
        serve.run(peer, name="bare", route_prefix="/bare")
        figures = {"overhead": overhead(client, video, rounds), "rush": rush(client)}
    serve.shutdown()
    ray.shutdown()
    store.close()
    return {**figures, "video_bytes": len(content), "rounds": rounds}


def make_video(client: httpx2.Client, settings: Settings) -> str:
    """A finished video, put into the store as a worker would."""
    video = str(create(client, "/v1/videos").json()["id"])
    store, files = open_store(settings), Files(Folder(settings.folder))
    store.queue.beat("benchmark")
    (job,) = store.queue.claim("benchmark", 1)
    frames = np.random.default_rng(0).integers(0, 256, (16, 256, 256, 3), np.uint8)
    files.keep_video(job.id, frames, 8.0, {})
    assert store.queue.complete("benchmark", job, 1.0)
    store.close()
    return video


def picture() -> bytes:
    """A photograph's worth of bytes."""
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (320, 512, 3), np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


PICTURE = picture()


def create(client: httpx2.Client, path: str) -> httpx2.Response:
    """Ask for a video."""
    return client.post(path, data={"prompt": "a"}, files={"input_reference": ("a.jpg", PICTURE, "image/jpeg")})


def overhead(client: httpx2.Client, video: str, rounds: int) -> dict[str, Any]:
    """Milliseconds of each call, ours and bare, and their ratio."""

    def create_and_forget() -> httpx2.Response:
        answer = create(client, "/v1/videos")
        made.append(answer.json()["id"])
        return answer

    made: list[str] = []
    calls: dict[str, Callable[[], httpx2.Response]] = {
        "create": create_and_forget,
        "bare create": lambda: create(client, "/bare/create"),
        "poll": lambda: client.get(f"/v1/videos/{video}"),
        "bare poll": lambda: client.get("/bare/poll"),
        "download": lambda: client.get(f"/v1/videos/{video}/content"),
        "bare download": lambda: client.get("/bare/content"),
    }

    def timed(call: Callable[[], httpx2.Response]) -> float:
        started = time.perf_counter()
        answer = call()
        seconds = time.perf_counter() - started
        assert answer.status_code == 200, answer.text
        while made:
            client.delete(f"/v1/videos/{made.pop()}")
        return seconds * 1e3

    functions = {name: partial(timed, call) for name, call in calls.items()}
    for function in functions.values():  # the first call of a route builds what the next ones use
        function()
    found = alternate(functions, rounds)
    names = ("create", "poll", "download")
    ratios = {name: round(found[name] / found[f"bare {name}"], 2) for name in names}
    ours, theirs = sum(found[name] for name in names), sum(found[f"bare {name}"] for name in names)
    return {"ms": {name: round(ms, 2) for name, ms in found.items()}, **ratios, "all three": round(ours / theirs, 2)}


def rush(client: httpx2.Client) -> dict[str, Any]:
    """Twenty times 200 requests at once; what was queued is deleted in between."""
    (process,) = (int(line) for line in pgrep("^ray::ServeReplica:motif:api"))
    memory, answers = [], Counter[str]()
    retry: list[int] = []
    for _ in range(RUSHES):
        with ThreadPoolExecutor(RUSH) as pool:
            found = list(pool.map(lambda _: create(client, "/v1/videos"), range(RUSH)))
        answers.update(str(answer.status_code) for answer in found)
        retry += [int(answer.headers["retry-after"]) for answer in found if answer.status_code == 429]
        for answer in found:
            if answer.status_code == 200:
                client.delete(f"/v1/videos/{answer.json()['id']}")
        memory.append(resident_megabytes(process))
    assert sum(answers.values()) == RUSHES * RUSH
    assert answers["200"] == RUSHES * QUEUE
    return {
        "requests": RUSHES * RUSH,
        "queue": QUEUE,
        "answers": dict(answers),
        "retry_after_s": [min(retry), max(retry)],
        "megabytes_warm": round(memory[WARM - 1]),
        "megabytes_last": round(memory[-1]),
    }


def cold_start(model: ServedModel, folder: Path) -> dict[str, float]:
    """Seconds from the command to ``/ready``, by phase."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("motif")), "serve", model.uri]
    begun = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--port", str(port), "--folder", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert process.stdout is not None
    started = json.loads(process.stdout.readline())
    httpx2.get(f"{started['url']}/ready").raise_for_status()
    total = time.perf_counter() - begun
    process.send_signal(signal.SIGTERM)
    process.wait()
    return {**started["seconds"], "all": round(total, 2)}


def pgrep(pattern: str) -> list[str]:
    """Process ids by their command line."""
    return subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True, check=True).stdout.split()


def resident_megabytes(process: int) -> float:
    """Memory that a process has resident."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmRSS:"))
    return int(kilobytes) / 1024


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


if __name__ == "__main__":
    main()
