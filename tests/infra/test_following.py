"""`motif submit` and a dashboard that is lost on the way, or that refuses."""

import asyncio
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from base.errors import Incomplete
from infra.submission.cluster import Cluster, Patience, job_name
from tests.infra.conftest import Motif
from tests.infra.dashboards import Connection, Dashboard, serving

JOB = "motif-train-1"
TRACEBACK = "Traceback (most recent call last):\n  File x, line 1\n"
SOON = Patience(look=0.01, lost=20)


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    with serving(Dashboard()) as dashboard:
        dashboard.has(JOB, "RUNNING")
        yield dashboard


def sends(text: str, then: str = "closes") -> Connection:
    """A connection that sends text, and then closes, is cut or is silent; or closes because the job has ended."""

    async def connection(dashboard: Dashboard, request: web.Request, socket: web.WebSocketResponse) -> None:
        if text:
            await socket.send_str(text)
        if then == "is cut":
            assert request.transport is not None
            request.transport.abort()
        elif then == "is silent":
            await asyncio.sleep(600)
        elif then == "ends":
            dashboard.has(JOB, "SUCCEEDED", driver_exit_code=0)

    return connection


def follow(dashboard: Dashboard, patience: Patience = SOON) -> tuple[str, list[str]]:
    """The output that was passed on, and what was said beside it."""
    output, said = list[str](), list[str]()
    job = Cluster(dashboard.address, patience).follow(JOB, output.append, said.append)
    assert (job.status, job.exit_code) == ("SUCCEEDED", 0)
    return "".join(output), said


def test_output_is_passed_on_once(dashboard: Dashboard) -> None:
    """Each connection begins with the first line; letters of several bytes are counted as letters."""
    dashboard.connections = iter([sends("één\ntw", "is cut"), sends("één\n", "is cut"), sends("één\ntwo\n", "ends")])
    output, said = follow(dashboard)
    assert output == "één\ntwo\n"
    assert said == [f"the connection to {dashboard.address} was lost; connecting again"]


def test_a_proxy_that_closes_what_is_idle(dashboard: Dashboard) -> None:
    """A step of training may take minutes, and some proxies close connections after one without a byte."""
    dashboard.connections = chain(repeat(sends("one\n"), 12), [sends("one\ntwo\n", "ends")])
    assert follow(dashboard) == ("one\ntwo\n", [])


def test_a_connection_that_ended_without_a_sign(dashboard: Dashboard) -> None:
    dashboard.connections = iter([sends("one\n", "is silent"), sends("one\ntwo\n", "ends")])
    assert follow(dashboard, Patience(look=0.01, silence=0.1)) == ("one\ntwo\n", [])


def test_a_dashboard_that_starts_again(dashboard: Dashboard) -> None:
    async def stops(dashboard: Dashboard, request: web.Request, socket: web.WebSocketResponse) -> None:
        dashboard.down = True
        asyncio.get_running_loop().call_later(0.2, setattr, dashboard, "down", False)

    dashboard.connections = iter([stops, sends("one\n", "ends")])
    assert follow(dashboard) == ("one\n", [f"the connection to {dashboard.address} was lost; connecting again"])


def test_patience_ends(dashboard: Dashboard) -> None:
    async def stops(dashboard: Dashboard, request: web.Request, socket: web.WebSocketResponse) -> None:
        dashboard.down = True

    dashboard.connections = iter([stops])
    with pytest.raises(Incomplete, match=f"503: Service Unavailable.* {JOB} may go on without this command") as caught:
        follow(dashboard, Patience(look=0.01, lost=0.1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("action", [("status",), ("stop", JOB), ("logs", JOB)])
def test_an_answer_that_is_an_error_is_one_line(dashboard: Dashboard, motif: Motif, action: tuple[str, ...]) -> None:
    dashboard.jobs[JOB]["status"] = "PENDING"  # the fake has no route for the list, nor to stop a job
    del dashboard.jobs[JOB]["entrypoint"]
    status, out, said = motif("submit", *action, "--address", dashboard.address)
    assert (status, out, len(said.splitlines())) == (5, "", 1), said
    assert f"--address {dashboard.address}: the cluster does not answer" in said


def submits(dashboard: Dashboard, tmp_path: Path, status: int, text: str, has: str = "") -> tuple[str, bool]:
    """The job and whether it is new, where the cluster answers so; another process may have started it meanwhile."""

    def answer(dashboard: Dashboard, asked: dict[str, Any]) -> web.Response:
        if has:
            dashboard.has(asked["submission_id"], has)
        return web.Response(status=status, text=text.format(**asked))

    dashboard.submitted = answer
    job, new = Cluster(dashboard.address, SOON).submit(["train", "x"], tmp_path)
    return job.id, new


def test_what_two_submit_at_once_is_one_job(dashboard: Dashboard, tmp_path: Path) -> None:
    refusal = f"{TRACEBACK}ValueError: Job with submission_id {{submission_id}} already exists. Please use another."
    assert submits(dashboard, tmp_path, 400, refusal, "RUNNING") == (job_name(["train", "x"]), False)


def test_why_a_job_is_not_taken(dashboard: Dashboard, tmp_path: Path) -> None:
    with pytest.raises(Incomplete, match=r"did not take the job \(OSError: No space left on device\)\.$"):
        submits(
            dashboard, tmp_path, 500, "Traceback (most recent call last):\n  File x\nOSError: No space left on device\n"
        )
