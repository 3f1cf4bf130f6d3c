"""A server in this process, without Ray: the real application and a real worker, each in a thread."""

import contextlib
import socket
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from serving.deploy.loading import open_worker
from serving.deploy.setup import open_videos
from serving.generate.models import ServedModel
from serving.generate.worker import Worker
from serving.http.api import build_api
from serving.jobs.store import JobStore
from serving.settings import Compute, Settings


@dataclass
class Server:
    """Where it listens, and its parts. ``hold`` keeps the worker from starting another batch while it is set."""

    url: str
    settings: Settings
    worker: Worker
    hold: threading.Event = field(default_factory=threading.Event)

    @property
    def store(self) -> JobStore:
        return self.worker.store

    @property
    def files(self) -> Path:
        return Path(self.settings.folder) / "files"


@contextlib.contextmanager
def serve(models: list[ServedModel], settings: Settings, with_worker: bool = True) -> Iterator[Server]:
    work, stopping = threading.Event(), threading.Event()
    worker = open_worker(settings, models, Compute(device="cpu"))
    worker.store.upkeep.start_run(uuid.uuid4().hex, alone=True)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = Server(f"http://127.0.0.1:{listening.getsockname()[1]}", settings, worker)

        def keep_working() -> None:
            while work.wait() and not stopping.is_set():
                work.clear()
                while not server.hold.is_set() and worker.work():
                    pass

        app = build_api(lambda: open_videos(settings, models, lambda waiting=None: work.set()))
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
        listener = uvicorn.Server(config)
        started = threading.Event()
        threads = [threading.Thread(target=_listen, args=(listener, listening, started))]
        if with_worker:
            threads.append(threading.Thread(target=keep_working))
        with worker if with_worker else contextlib.nullcontext():
            for thread in threads:
                thread.start()
            started.wait(30)
            try:
                yield server
            finally:
                listener.should_exit = True
                stopping.set()
                work.set()
                for thread in threads:
                    thread.join()
        worker.store.close()


def _listen(listener: uvicorn.Server, listening: socket.socket, started: threading.Event) -> None:
    startup = listener.startup

    async def told(sockets: list[socket.socket] | None = None) -> None:
        await startup(sockets)
        started.set()

    listener.startup = told  # type: ignore[method-assign]
    listener.run(sockets=[listening])
