"""A server that answers as Ray's dashboard does, for the jobs that a test writes."""

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ray
from aiohttp import web

OUR_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
Connection = Callable[["Dashboard", web.Request, web.WebSocketResponse], Awaitable[None]]


@dataclass
class Dashboard:
    """What it answers. Each connection that asks for a job's output takes the next of ``connections``."""

    metadata: dict[str, str] | None = field(
        default_factory=lambda: {"rayVersion": ray.__version__, "pythonVersion": f"{OUR_PYTHON}.1"}
    )
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    connections: Iterator[Connection] = iter(())
    submitted: Callable[["Dashboard", dict[str, Any]], web.Response] | None = None
    nodes: list[dict[str, float]] = field(default_factory=lambda: [{}, {"CPU": 2.0}])
    """The resources of each: by default a head that runs no work, and a node of two cores."""
    down: bool = False
    """Whether it answers 503, as the proxy before a dashboard that starts again."""
    address: str = ""

    def has(self, job_id: str, status: str, **more: Any) -> None:
        """From now on there is this job."""
        self.jobs[job_id] = {"type": "SUBMISSION", "submission_id": job_id, "status": status, "entrypoint": "x"} | more

    async def cluster(self, _: web.Request) -> web.Response:
        return web.json_response({"data": self.metadata}, status=200 if self.metadata else 404)

    async def version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "4", "ray_version": ray.__version__})

    async def state_of_nodes(self, _: web.Request) -> web.Response:
        found = [{"state": "ALIVE", "resources_total": node} for node in self.nodes]
        return web.json_response({"data": {"result": {"result": found}}})

    async def job(self, request: web.Request) -> web.Response:
        found = self.jobs.get(request.match_info["id"])
        return web.json_response(found) if found else web.Response(text=self.unknown(request), status=404)

    async def submit(self, request: web.Request) -> web.Response:
        assert self.submitted is not None
        return self.submitted(self, await request.json())

    async def package(self, _: web.Request) -> web.Response:
        return web.Response()  # it has been sent before

    async def tail(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await next(self.connections)(self, request, socket)
        return socket

    def unknown(self, request: web.Request) -> str:
        return f"Job {request.match_info['id']} does not exist"


@contextmanager
def serving(dashboard: Dashboard) -> Iterator[Dashboard]:
    """Serve a dashboard on a port of this machine."""

    @web.middleware
    async def proxy(request: web.Request, handler: Any) -> Any:
        return web.Response(status=503, text="Service Unavailable") if dashboard.down else await handler(request)

    app = web.Application(middlewares=[proxy])
    app.add_routes(
        [
            web.get("/api/version", dashboard.version),
            web.get("/api/v0/cluster_metadata", dashboard.cluster),
            web.get("/api/v0/nodes", dashboard.state_of_nodes),
            web.get("/api/packages/{protocol}/{name}", dashboard.package),
            web.post("/api/jobs/", dashboard.submit),
            web.get("/api/jobs/{id}", dashboard.job),
            web.get("/api/jobs/{id}/logs/tail", dashboard.tail),
        ]
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(act: Any) -> None:
        asyncio.run_coroutine_threadsafe(act, loop).result(20)

    runner = web.AppRunner(app, shutdown_timeout=0.1)
    try:
        run(runner.setup())
        run(web.TCPSite(runner, "127.0.0.1", 0).start())
        dashboard.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield dashboard
    finally:
        run(runner.cleanup())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
