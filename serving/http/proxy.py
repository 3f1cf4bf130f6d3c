"""Middleware for Ray Serve's proxies: wraps the plain-text errors of Serve itself in the API's error envelope.

Serve's HTTP proxies load it if the environment of their Ray node sets
``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=serving.http.proxy:middlewares``.
"""

import json
import logging

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import envelope

log = logging.getLogger("ray.serve")
CALLBACK = {"RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serving.http.proxy:middlewares"}
_ROUTES = "/-/routes"
_CODES = {
    404: ("not_found", "There is nothing at this path."),
    408: ("timeout", "The request took too long."),
    429: ("too_many_requests", "Too many requests at once: try again later."),
    503: ("unavailable", "No process can answer at the moment: try again later."),
    504: ("timeout", "The request took too long."),
}
_FAULT = ("internal_error", "Internal server error. See the server's log for details.")


class Enveloped:
    """ASGI middleware that rewrites plain-text errors, so that no traceback reaches a caller.

    Serve's list of applications is hidden, since the proxy does not check API keys.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on except plain-text errors."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"].endswith(_ROUTES):
            for part in _answer(404):
                await send(part)
            return
        begun = replaced = False

        async def rewriting(message: Message) -> None:
            nonlocal begun, replaced
            begun = True
            if message["type"] == "http.response.start" and _is_plain_error(message):
                replaced = True
                for part in _answer(message["status"]):
                    await send(part)
            elif not replaced:
                await send(message)

        try:
            await self.app(scope, receive, rewriting)
        except Exception:
            if begun:  # a response that has begun cannot be replaced
                raise
            log.exception("%s %s", scope["method"], scope["path"])
        if not begun:  # the process died before it answered
            for part in _answer(500):
                await send(part)


def middlewares() -> list[Middleware]:
    """The middleware for Serve's proxies."""
    return [Middleware(Enveloped)]


def _is_plain_error(message: Message) -> bool:
    kind = Headers(raw=message.get("headers", [])).get("content-type", "text/plain")
    return bool(message["status"] >= 400 and kind.startswith("text/plain"))


def _answer(status: int) -> tuple[Message, Message]:
    body = json.dumps(envelope(status, *_CODES.get(status, _FAULT))).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status in (429, 503):
        headers.append((b"retry-after", b"5"))
    return (
        {"type": "http.response.start", "status": status, "headers": headers},
        {"type": "http.response.body", "body": body, "more_body": False},
    )
