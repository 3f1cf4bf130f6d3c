"""The client where things go wrong: what it sends again, what it tells, what it leaves on the disk."""

import contextlib
import json
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from base.errors import StorageError
from serving.client.client import Client
from serving.client.http import RefusedError, ServerError
from serving.video_api import Video
from tests.serving.scripted import VIDEO, Answer, refusal, scripted, told, video

MP4 = bytes(range(256)) * 40
LOST = Answer(lost=True)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(status: int) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
    busy = [refusal(status, "queue_full", {"retry-after": when}) for when in ("0", "0", "0", "0", "0.2", later)]
    lines: list[str] = []
    with scripted(*busy, video()) as script, Client(script.url, on_retry=lines.append) as client:
        assert client.create("a star", b"pixels").id == "video_1"
    assert len({seen.headers["idempotency-key"] for seen in script.seen}) == 1
    assert lines[4] == "It is queue_full. Trying again in 0.2 s."


def test_a_server_that_stays_busy_is_given_up() -> None:
    busy = refusal(429, "queue_full", {"retry-after": "3600"})
    with scripted(busy) as script, Client(script.url, patience=5) as client, pytest.raises(ServerError) as caught:
        client.create("a star", b"pixels")
    error = caught.value
    assert (error.status, error.code, error.retry_after) == (429, "queue_full", 3600)
    assert not isinstance(error, RefusedError)


def test_a_lost_answer_makes_no_second_job() -> None:
    with scripted(LOST, refusal(500, "broken"), video()) as script, Client(script.url) as client:
        client.remix("video_1", "a square")
    assert len({(seen.path, seen.headers["idempotency-key"], seen.body) for seen in script.seen}) == 1


def test_faults_are_borne_four_times() -> None:
    with (
        scripted(LOST, LOST, *[Answer(502, b"<h1>Bad  gateway</h1>")] * 2) as script,
        Client(script.url) as client,
        pytest.raises(ServerError, match=r"video_1 answers 502 Bad Gateway: <h1>Bad gateway</h1>$"),
    ):
        client.get("video_1")


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 415, 422])
def test_a_refusal_is_not_argued_with(status: int) -> None:
    with (
        scripted(refusal(status, "wrong", param="seed")) as script,
        Client(script.url) as client,
        pytest.raises(RefusedError, match=r"^It is wrong\.$") as caught,
    ):
        client.create("a star", b"pixels", seed=-1)
    assert (caught.value.status, caught.value.code, caught.value.param) == (status, "wrong", "seed")


def test_a_delete_whose_answer_was_lost() -> None:
    gone = refusal(404, "video_not_found")
    with scripted(LOST, gone, gone) as script, Client(script.url) as client:
        client.delete("video_1")
        with pytest.raises(RefusedError):
            client.delete("video_1")


def test_a_download_is_whole_or_not_there(tmp_path: Path) -> None:
    broken, whole, out = Answer(200, MP4[:100], cut=900), Answer(200, MP4), tmp_path / "a.mp4"
    answers = [broken, whole, *[broken] * 4, refusal(404, "gone"), whole]
    with scripted(*answers) as script, Client(script.url) as client:
        client.download("video_1", out)
        assert out.read_bytes() == MP4
        with pytest.raises(ServerError, match="cannot be reached"):
            client.download("video_1", out)
        with pytest.raises(RefusedError):
            client.download("video_1", tmp_path / "b.mp4")
        with pytest.raises(StorageError, match="cannot be written: No such file"):
            client.download("video_1", tmp_path / "no" / "b.mp4")
    assert out.read_bytes() == MP4
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def event(**change: Any) -> bytes:
    return f"event: progress\ndata: {json.dumps(VIDEO | change)}\n\n".encode()


@pytest.mark.parametrize(
    "events",
    [
        refusal(404, "no_such_route"),
        Answer(200, b"<html>"),
        Answer(200, event(status="in_progress", progress=1)[:-5], {"content-type": "text/event-stream"}, cut=50),
        LOST,
    ],
)
def test_where_events_do_not_come_it_polls(events: Answer) -> None:
    soon = {"openai-poll-after-ms": "10"}
    states = [video(soon, status="queued", progress=0), events, video(soon, status="in_progress", progress=50)]
    told_of: list[Video] = []
    with scripted(*states, states[-1], video()) as script, Client(script.url) as client:
        assert client.wait("video_1", told_of.append).status == "completed"
    assert [now.progress for now in told_of] == [0, 50, 100]


def test_events_are_followed() -> None:
    steps = [event(status="in_progress", progress=progress) for progress in (10, 10, 60)]
    stream = b": alive\n\nevent: other\ndata: hello\n\n" + b"".join(steps) + event()
    answers = [video(status="queued", progress=0), Answer(200, stream, {"content-type": "text/event-stream"}), video()]
    told_of: list[Video] = []
    with scripted(*answers) as script, Client(script.url) as client:
        client.wait("video_1", told_of.append)
    assert [now.progress for now in told_of] == [0, 10, 60, 100]


def test_waiting_ends_when_told() -> None:
    slow = video({"openai-poll-after-ms": "60000"}, status="in_progress", progress=3)
    with (
        scripted(slow, refusal(404, "no_such_route"), slow, slow) as script,
        Client(script.url) as client,
        pytest.raises(ServerError, match=r"video_1 is in_progress at 3 % after 0\.2 s") as caught,
    ):
        client.wait("video_1", limit_s=0.2)
    assert caught.value.code == "timeout"


def test_comments_do_not_keep_a_wait_from_its_end() -> None:
    """A server that has nothing to tell says so again and again."""
    queued, ended = event(status="queued", progress=0), threading.Event()

    def talk(listening: socket.socket) -> None:
        while True:
            connection = listening.accept()[0]
            with connection, contextlib.suppress(OSError):
                if ended.is_set():
                    return
                asked, body = connection.recv(10_000), queued.partition(b"data: ")[2].strip()
                if b"/events" not in asked:
                    length = str(len(body)).encode()
                    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + length)
                    connection.sendall(b"\r\n\r\n" + body)
                    continue
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + queued)
                while not ended.wait(0.05):
                    connection.sendall(b": still here\n\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=talk, args=(listening,))
        thread.start()
        timer = threading.Timer(10, ended.set)  # where the client never gives up by itself
        timer.start()
        try:
            with (
                Client(f"http://127.0.0.1:{listening.getsockname()[1]}") as client,
                pytest.raises(ServerError, match=r"is queued at 0 % after 1 s"),
            ):
                client.wait("video_1", limit_s=1)
            assert not ended.is_set()
        finally:
            timer.cancel()
            ended.set()
            socket.create_connection(listening.getsockname()).close()
            thread.join()


def test_a_video_that_failed_is_told(tmp_path: Path) -> None:
    why = {"code": "out_of_memory", "message": "The GPU is full."}
    with (
        scripted(video(), video(status="failed", error=why)) as script,
        Client(script.url) as client,
        pytest.raises(ServerError, match=r"^video video_1 failed: The GPU is full\.$") as caught,
    ):
        client.generate("a star", b"pixels", tmp_path / "a.mp4")
    assert caught.value.code == "out_of_memory"
    assert not list(tmp_path.iterdir())


def test_newer_and_older_servers() -> None:
    old = {"id": "video_1", "object": "video", "status": "queued"}
    page = told(data=[VIDEO | {"mood": "good"}, old], has_more=True, last_id="video_1")
    last = told(data=[], has_more=False)
    with scripted(page, last) as script, Client(script.url) as client:
        assert [found.seed for found in client.videos("asc")] == [7, None]
    assert [seen.path for seen in script.seen] == [
        "/v1/videos?limit=100&order=asc",
        "/v1/videos?limit=100&order=asc&after=video_1",
    ]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": 3}', b'{"id": "x", "object": "model"}'])
def test_another_kind_of_server(body: bytes) -> None:
    with scripted(Answer(200, body), Answer(200, body)) as script, Client(script.url) as client:
        for ask in (client.list, lambda: client.get("video_1")):
            with pytest.raises(ServerError, match="is it the server's address"):
                ask()


def test_a_redirect_is_told_and_not_followed() -> None:
    moved = Answer(308, b"", {"location": "https://elsewhere.example/v1/models"})
    with (
        scripted(moved) as script,
        Client(script.url, key="k") as client,
        pytest.raises(RefusedError, match=r"308 Permanent Redirect and points to https://elsewhere\.example"),
    ):
        client.models()


def test_an_id_cannot_leave_its_place() -> None:
    with (
        scripted(refusal(404, "video_not_found")) as script,
        Client(script.url) as client,
        contextlib.suppress(RefusedError),
    ):
        client.get("../models?x#y")
    assert script.seen[0].path == "/v1/videos/..%2Fmodels%3Fx%23y"


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with (
            Client(f"http://127.0.0.1:{taken.getsockname()[1]}") as client,
            pytest.raises(ServerError, match=r"cannot be reached \(.*refused\): is it the server's address"),
        ):
            client.models()


def test_somebody_who_says_nothing() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.1) as client,
        pytest.raises(ServerError, match=r"sent nothing for 0\.1 s") as caught,
    ):
        client.models()
    assert caught.value.code == "timeout"


def test_broken_tls_is_told_at_once() -> None:
    begun = time.monotonic()
    with (
        scripted() as script,
        Client(script.url.replace("http", "https")) as client,
        pytest.raises(ServerError, match=r"is not trusted \(WRONG_VERSION_NUMBER\)") as caught,
    ):
        client.models()
    assert caught.value.code == "untrusted"
    assert time.monotonic() - begun < 10
