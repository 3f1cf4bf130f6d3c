"""What Ray Serve's proxy says itself, before any route of ours is asked."""

import asyncio

import httpx2
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from serving.http.proxy import Enveloped
from tests.serving.calls import refusal


async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
    """As Serve's: it tells its applications, that it is well, and to look at the former for other paths."""
    paths = {"/-/routes": (200, '{"/": "motif"}'), "/-/healthz": (200, "success")}
    status, text = paths.get(scope["path"], (404, "Path not found. Ping http://.../-/routes for available routes."))
    await PlainTextResponse(text, status)(scope, receive, send)


def ask(path: str) -> httpx2.Response:
    async def run() -> httpx2.Response:
        transport = httpx2.ASGITransport(Enveloped(proxy))
        async with httpx2.AsyncClient(transport=transport, base_url="http://a") as client:
            return await client.get(path)

    return asyncio.run(run())


def test_its_list_of_applications_is_hidden() -> None:
    assert ask("/-/healthz").text == "success"
    for path in ("/-/routes", "/%2d/routes", "/nothing"):
        answer = ask(path)
        assert refusal(answer) == (404, "not_found", None)
        assert "routes" not in answer.text
