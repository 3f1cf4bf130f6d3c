"""A proxy on loopback that fails a share of the requests, some of them after they were carried out."""

import http.client
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_SLOW_S = 1.0
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "date", "server"}


@dataclass
class Flaky:
    """The proxy: what share fails, and how often each method has failed and was carried out.

    ``kind``: a failure is an answer ``503`` (or another ``status`` and ``code``), a connection that is ``reset``, or an
    answer that comes ``slow``, after a second.
    """

    share: float
    kind: str = "503"
    draw: random.Random = field(default_factory=lambda: random.Random(0))
    failed: dict[str, int] = field(default_factory=dict)
    passed: dict[str, int] = field(default_factory=dict)
    endpoint: str = ""
    status: int = 503
    code: str = "SlowDown"


class _Server(ThreadingHTTPServer):
    def __init__(self, to: str, flaky: Flaky) -> None:
        self.to, self.flaky = urlsplit(to), flaky
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _handle(self) -> None:
        flaky, body = self.server.flaky, self._body()
        fails, done = flaky.draw.random() < flaky.share, flaky.draw.random() < 0.3
        slow = fails and flaky.kind == "slow"
        said = f"<Error><Code>{flaky.code}</Code><Message>Not now.</Message></Error>".encode()
        status, headers, content = flaky.status, [("Content-Type", "application/xml")], said
        if slow:
            time.sleep(_SLOW_S)
        if done or slow or not fails:
            answer = self._forward(body)
        if slow or not fails:
            status, headers, content = answer
        counts = flaky.failed if fails else flaky.passed
        counts[self.command] = counts.get(self.command, 0) + 1
        if fails and flaky.kind == "reset":
            self.close_connection = True
            return
        self._answer(status, headers, content)

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        length = next((value for name, value in headers if name.lower() == "content-length"), "0")
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815 - the base class's names

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        to = self.server.to
        connection = http.client.HTTPConnection(to.hostname or "", to.port, timeout=30)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("expect", "transfer-encoding")}
        headers["Content-Length"] = str(len(body))
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.getheaders(), content

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def flaky_proxy(endpoint: str, share: float) -> Iterator[Flaky]:
    """A proxy before ``endpoint`` that fails that ``share`` of the requests."""
    state = Flaky(share)
    server = _Server(endpoint, state)
    state.endpoint = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
