"""Ray Serve answers some failures itself, in plain text; here they get the envelope of all other errors.

Serve's HTTP proxies take this in where the environment of the Ray node that they start on holds
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
    429: ("too_many_requests", "Too many requests at once: ask again later."),
    503: ("unavailable", "No process can answer at the moment: ask again later."),
    504: ("timeout", "The request took too long."),
}
_FAULT = ("internal_error", "A fault of the server. Its log says more.")


class Enveloped:
    """ASGI middleware that rewrites plain-text errors; a traceback in one of them goes no further.

    Serve's list of its applications is nobody's business, and the proxy knows no keys: it is hidden.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on but plain-text errors."""
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
            if begun:  # half an answer cannot be taken back
                raise
            log.exception("%s %s", scope["method"], scope["path"])
        if not begun:  # a process that dies before it answers leaves nothing but silence
            for part in _answer(500):
                await send(part)


def middlewares() -> list[Middleware]:
    """What Serve's proxies wrap themselves in."""
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
