"""A server that gives the answers it was told to, for what the real one does not do on demand: faults of all kinds."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VIDEO = {"id": "video_1", "object": "video", "status": "completed", "progress": 100, "model": "toy", "seed": 7}


@dataclass(frozen=True)
class Answer:
    """``cut`` bytes of the body are promised and never sent; ``lost``: the connection ends without any answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    lost: bool = False


@dataclass(frozen=True)
class Seen:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Script:
    """Answers still to give, in order, and requests seen so far."""

    answers: list[Answer]
    url: str = ""
    seen: list[Seen] = field(default_factory=list)


def told(status: int = 200, headers: dict[str, str] | None = None, /, **body: Any) -> Answer:
    """An answer of JSON."""
    return Answer(status, json.dumps(body).encode(), {"content-type": "application/json"} | (headers or {}))


def refusal(status: int, code: str, headers: dict[str, str] | None = None, param: str | None = None) -> Answer:
    """The error envelope."""
    return told(status, headers, error={"message": f"It is {code}.", "type": "t", "param": param, "code": code})


def video(headers: dict[str, str] | None = None, /, **change: Any) -> Answer:
    """A video object."""
    return told(200, headers, **(VIDEO | change))


@contextmanager
def scripted(*answers: Answer) -> Iterator[Script]:
    """Serve the answers on loopback; at the end all of them must have been asked for."""
    script = Script(list(answers))

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            script.seen.append(Seen(self.command, self.path, headers, body))
            answer = script.answers.pop(0) if script.answers else refusal(418, "not_in_the_script")
            self.close_connection = True
            if answer.lost:
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body) + answer.cut))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - names that the base class looks for

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert not script.answers, "answers that nobody asked for"
