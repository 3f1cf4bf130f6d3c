"""Middleware in front of the routes: API keys, host and origin checks, body size, and common response headers."""

import hmac
import re
import uuid
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import ApiError, invalid
from serving.jobs.job import ANYONE
from serving.settings import Settings, key_hash

_OPEN = ("/", "/health", "/ready", "/openapi.json")  # and /page/...: open to browsers and load balancers
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:/?#@\s]+))(?::[0-9]*)?", re.IGNORECASE)
_REQUEST_ID = "x-request-id"
_EXPOSED = (  # in addition to the CORS-safelisted ones
    _REQUEST_ID, "retry-after", "content-disposition", "content-range", "etag", "location", "openai-poll-after-ms",
    "x-inference-time-s", "x-model", "x-seed", "x-should-retry", "x-video-id",
)  # fmt: skip
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "style-src 'self'; script-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'",
}


def answer(error: ApiError) -> JSONResponse:
    """An error as a response."""
    return JSONResponse(error.body(), error.status, error.headers)


class Guard:
    """ASGI middleware; puts the caller's ``owner`` into the request's state."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self._shown: ASGIApp = self._guarded
        if settings.origins:  # outermost: pages must be able to read errors about the key or size
            self._shown = CORSMiddleware(
                self._guarded, settings.origins, allow_methods=["*"], allow_headers=["*"], expose_headers=_EXPOSED
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with an error."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        # Ray Serve adds request ids to responses; without Serve it is done here.
        send = _dressed(send, {} if _REQUEST_ID in headers else {_REQUEST_ID: uuid.uuid4().hex})
        try:
            self._check_host(headers.get("host", ""))
            if scope["method"] not in ("GET", "HEAD"):
                self._check_origin(headers)
        except ApiError as error:
            await answer(error)(scope, receive, send)
            return
        await self._shown(scope, receive, send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            owner = self._admit(scope, Headers(scope=scope))
        except ApiError as error:
            await answer(error)(scope, receive, send)
            return
        scope.setdefault("state", {})["owner"] = owner
        await self.app(scope, _limited(receive, self._too_large), send)

    def _admit(self, scope: Scope, headers: Headers) -> str:
        path = scope["path"]
        if "\0" in path or b"%00" in scope["query_string"]:  # some databases reject it in queries
            raise invalid(None, "The address contains a NUL character; remove it.")
        length = headers.get("content-length", "0")
        if length.isdecimal():
            self._too_large(int(length))
        if not self.settings.key_hashes or path in _OPEN or path.startswith("/page/"):
            return ANYONE
        return self._owner(headers.get("authorization", ""))

    def _owner(self, authorization: str) -> str:
        kind, _, key = authorization.partition(" ")
        if kind.lower() == "bearer" and key:
            hashed = key_hash(key.strip())
            # All are compared, so that timing does not reveal which one matched.
            if any([hmac.compare_digest(hashed, known) for known in self.settings.key_hashes]):
                return hashed
            raise ApiError(401, "invalid_api_key", "The API key is unknown. Check the Authorization header.")
        raise ApiError(401, "missing_api_key", "An API key is required: send it as 'Authorization: Bearer KEY'.")

    def _check_host(self, host: str) -> None:
        """Refuse unknown host names, against DNS rebinding."""
        match = _HOST.fullmatch(host)
        name = (match[1] or match[2]).lower() if match else ""
        if self.settings.hosts and name not in self.settings.hosts:
            raise ApiError(403, "host_not_allowed", "This server does not answer under that name.")

    def _check_origin(self, headers: Headers) -> None:
        """Refuse foreign origins, since any web page may post forms here (CSRF)."""
        origin = headers.get("origin")
        if origin is None or origin in self.settings.origins or origin.partition("://")[2] == headers.get("host"):
            return
        raise ApiError(403, "origin_not_allowed", "Pages of this origin may not call this server (see --origins).")

    def _too_large(self, size: int) -> None:
        limit = self.settings.body_mib
        if size > limit << 20:
            raise ApiError(413, "body_too_large", f"The body is larger than {limit} MiB: send a smaller picture.")


def _limited(receive: Receive, check: Callable[[int], None]) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        check(seen)
        return message

    return counted


def _dressed(send: Send, more: dict[str, str]) -> Send:
    async def dressed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in (_HEADERS | more).items():
                headers.setdefault(name, value)
        await send(message)

    return dressed
