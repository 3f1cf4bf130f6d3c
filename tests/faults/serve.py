"""Serving under faults: every accepted job ends, none is made twice, and a seed still gives the same video."""

import hashlib
import json
import random
import subprocess
import time
from collections import Counter
from pathlib import Path

import httpx2

from tests.faults.journey import Outcome, start
from tests.faults.nodes import Nodes
from tests.faults.plan import Fault
from tests.faults.strike import kill_one
from tests.ports import free_port
from tests.serving.calls import png

_JOBS, _STEPS = 6, 60
_PATIENCE_S = 240.0
_LOOK_S = 0.1  # between two looks at the jobs
_MARKS = {
    "worker": "ray::ServeReplica:motif:worker",
    "api": "ray::ServeReplica:motif:api",
    "proxy": "ray::ProxyActor",
}
_LOST = {"worker_lost", "server_restarted"}


class Serving:
    """Six videos from a server, each asked for until it is there."""

    def __init__(self, place: Path, model: Path) -> None:
        self.place, self.model = place, model
        self.expected: dict[int, str] = {}

    def prepare(self, nodes: Nodes) -> float:
        """See :class:`tests.faults.journey.Journey`."""
        with _Visit(self, "undisturbed", nodes, None) as visit:
            wrong = visit.finish()
            assert not wrong, wrong
            self.expected = visit.videos
        return visit.seconds

    def suffer(self, fault: Fault, nodes: Nodes, moment_s: float) -> Outcome | None:
        """See :class:`tests.faults.journey.Journey`."""
        with _Visit(self, f"{fault.number}-{fault.victim}", nodes, fault) as visit:
            wrong = visit.finish()
        if visit.hit_s is None:
            return None
        if not wrong and visit.videos != self.expected:
            wrong = "other videos"
        return Outcome(visit.hit_s, visit.starts, wrong)


class _Visit:
    """One server, all its jobs, and the fault.

    A node can only die on a cluster; for the other faults the server has its own Ray.
    """

    def __init__(self, journey: Serving, name: str, nodes: Nodes, fault: Fault | None) -> None:
        self.journey, self.nodes, self.fault = journey, nodes, fault
        self.folder, self.log = journey.place / f"served-{name}", journey.place / f"{name}.log"
        self.on_nodes = fault is not None and fault.victim == "node"
        self.draw = random.Random(fault.number if fault else 0)
        self.client = httpx2.Client(timeout=60)
        self.videos: dict[int, str] = {}
        self.lost: Counter[int] = Counter()
        self.hit_s: float | None = None
        self.starts, self.seconds = 0, 0.0

    def __enter__(self) -> "_Visit":
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.server.terminate()
        try:
            self.server.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.communicate()

    def _start(self) -> None:
        """Start the server and wait until it is ready."""
        environment = dict(self.nodes.environment)
        if not self.on_nodes:  # Ray also finds a cluster through its folder
            del environment["RAY_ADDRESS"], environment["RAY_TMPDIR"]
        self.url = f"http://127.0.0.1:{free_port()}"
        port = self.url.rpartition(":")[2]
        command = ["serve", self.journey.model, "--port", port, "--folder", self.folder, "--device", "cpu"]
        command += ["--cpus", "1"] if self.on_nodes else []  # by default a worker takes all cores of this machine
        self.server, self.starts = start(command, environment, self.log), self.starts + 1
        assert self.server.stdout is not None
        assert self.server.stdout.readline(), self.log.read_text()

    def finish(self) -> str:
        """Ask for all videos until they are there; returns what is wrong, or ""."""
        began = time.monotonic()
        jobs: dict[int, str] = {}
        while len(self.videos) < _JOBS:
            passed = time.monotonic() - began
            if passed > _PATIENCE_S:
                return f"{_JOBS - len(self.videos)} videos never came"
            if self.hit_s is None and self._is_due() and self._hit():
                self.hit_s = passed
            if self.server.poll() is not None:
                self._start()
            for seed in range(_JOBS):
                if seed not in self.videos:
                    self._look_after(seed, jobs)
            time.sleep(_LOOK_S)
        self.seconds = time.monotonic() - began
        return self._doubled()

    def _is_due(self) -> bool:
        """Whether that share of the videos is there at which the fault comes: seconds would depend on the machine."""
        return self.fault is not None and len(self.videos) >= int(self.fault.moment * _JOBS)

    def _look_after(self, seed: int, jobs: dict[int, str]) -> None:
        """Ask for a video, or look at its job; again later if the server does not answer."""
        try:
            if seed not in jobs:
                jobs[seed] = self._ask(seed)
                return
            answer = self.client.get(f"{self.url}/v1/videos/{jobs[seed]}")
            if answer.status_code != 200:
                assert answer.status_code >= 500, f"an accepted job is lost: {answer.text}"
                return
            job = answer.json()
            if job["status"] == "failed":
                assert job["error"]["code"] in _LOST, job["error"]
                del jobs[seed]
                self.lost[seed] += 1
            elif job["status"] == "completed":
                content = self.client.get(f"{self.url}/v1/videos/{jobs[seed]}/content")
                if content.status_code == 200:
                    self.videos[seed] = hashlib.sha256(content.content).hexdigest()
        except (httpx2.TransportError, json.JSONDecodeError, KeyError):
            return

    def _ask(self, seed: int) -> str:
        """Post a request. Its key makes a second attempt, after an answer that was lost, the same job."""
        answer = self.client.post(
            f"{self.url}/v1/videos",
            data={"prompt": "a", "seed": str(seed), "num_inference_steps": str(_STEPS)},
            files={"input_reference": ("a.png", png(), "image/png")},
            headers={"Idempotency-Key": f"{seed}-{self.lost[seed]}"},
        )
        return str(answer.json()["id"])

    def _listed(self) -> list[dict[str, object]]:
        page: list[dict[str, object]] = self.client.get(f"{self.url}/v1/videos", params={"limit": 100}).json()["data"]
        return page

    def _hit(self) -> bool:
        assert self.fault is not None
        if self.fault.victim == "node":
            self.nodes.replace(self.draw)
            return True
        if self.fault.victim == "server":
            self.server.kill()
            return True
        return kill_one(_MARKS[self.fault.victim], self.server.pid, self.draw)

    def _doubled(self) -> str:
        """Seeds that do not have exactly one finished job, or jobs that never ended, in words."""
        page = self._listed()
        made = Counter(job["seed"] for job in page if job["status"] == "completed")
        doubled = {seed: made[seed] for seed in range(_JOBS) if made[seed] != 1}
        if doubled:
            return f"finished jobs by seed: {doubled}"
        open_still = [job["id"] for job in page if job["status"] not in ("completed", "failed")]
        return f"{len(open_still)} jobs never ended" if open_still else ""
