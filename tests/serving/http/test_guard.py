"""Who may ask: keys, names of the server, pages of other origins; and what every answer says to browsers."""

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from serving.generate.models import ServedModel
from serving.settings import Settings, key_hash
from tests.serving.calls import create, events, png, refusal
from tests.serving.server import Server, serve

MINE, THEIRS = "the key of the first user", "the key of the second"
PAGE = "https://pages.example"
OPEN = ["/", "/health", "/ready", "/openapi.json", "/page/page.js"]
ROUTES = [
    "GET /v1/videos", "POST /v1/videos", "POST /v1/videos/sync", "GET /v1/videos/video_1", "DELETE /v1/videos/video_1",
    "GET /v1/videos/video_1/content", "HEAD /v1/videos/video_1/content", "GET /v1/videos/video_1/events",
    "POST /v1/videos/video_1/remix", "GET /v1/models", "GET /metrics", "GET /nothing", "PUT /v1/videos",
    "GET /page/../v1/videos", "GET //v1/videos", "GET /health/",
]  # fmt: skip


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guard")


@pytest.fixture(scope="module")
def guarded(tiny: ServedModel, folder: Path) -> Iterator[Server]:
    keys = (key_hash(MINE), key_hash(THEIRS))
    hosts, origins = ("127.0.0.1", "Motif.Example"), (PAGE.replace("pages", "Pages"),)
    settings = Settings(str(folder / "keys"), key_hashes=keys, hosts=hosts, origins=origins)
    with serve([tiny], settings) as server:
        yield server


@pytest.fixture(scope="module")
def unguarded(tiny: ServedModel, folder: Path) -> Iterator[Server]:
    with serve([tiny], Settings(str(folder / "none")), with_worker=False) as server:
        yield server


@pytest.fixture
def stranger(guarded: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=guarded.url, timeout=60) as client:
        yield client


@pytest.fixture
def mine(guarded: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=guarded.url, timeout=60, headers=bearer(MINE)) as client:
        yield client


@pytest.mark.parametrize("route", ROUTES)
def test_a_key_is_asked_for_first(stranger: httpx2.Client, route: str) -> None:
    method, _, path = route.partition(" ")
    for headers, code in (({}, "missing_api_key"), (bearer("wrong"), "invalid_api_key")):
        answer = stranger.request(method, path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        if method != "HEAD":
            assert refusal(answer)[1:] == (code, None)
            assert answer.json()["error"]["type"] == "authentication_error"


@pytest.mark.parametrize(
    "value",
    [
        "", "Bearer", MINE, f"Basic {MINE}", f"Token {MINE}", f"Bearer  {MINE} {MINE}", f"Bearer {MINE[:-1]}",
        f"Bearer {key_hash(MINE)}", f"Bearer {MINE.upper()}", "Bearer é", "Bearer \xff\xfe", "Bearer " + "a" * 60_000,
    ],
    ids=lambda value: repr(value[:30]),
)  # fmt: skip
def test_keys_that_are_none(stranger: httpx2.Client, value: str) -> None:
    answer = stranger.get("/v1/videos", headers={"authorization": value.encode("latin-1")})
    assert refusal(answer)[0] == 401
    assert MINE not in answer.text


@pytest.mark.parametrize("value", [f"Bearer {MINE}", f"bearer {MINE}", f"BEARER  {MINE}"])
def test_a_key_that_is_one(stranger: httpx2.Client, value: str) -> None:
    assert stranger.get("/v1/models", headers={"authorization": value}).status_code == 200


@pytest.mark.parametrize("path", OPEN)
def test_what_needs_no_key(stranger: httpx2.Client, path: str) -> None:
    assert stranger.get(path).status_code == 200


def test_a_key_in_the_address_is_none(stranger: httpx2.Client) -> None:
    assert refusal(stranger.get("/v1/videos", params={"key": MINE, "api_key": MINE, "access_token": MINE}))[0] == 401


def test_videos_of_others_are_not_there(mine: httpx2.Client) -> None:
    """Not even a sign that there are such: the answers are those for a video that nobody made."""
    video_id = create(mine, num_inference_steps="1")["id"]
    events(mine, video_id)
    with httpx2.Client(base_url=mine.base_url, timeout=60, headers=bearer(THEIRS)) as theirs:
        for path, code in ((f"/v1/videos/{video_id}", 404), ("/v1/videos/video_none", 404)):
            asks = [
                theirs.get(path), theirs.get(f"{path}/content"), theirs.get(f"{path}/events"), theirs.delete(path),
                theirs.post(f"{path}/remix", json={"prompt": "b"}),
            ]  # fmt: skip
            assert [refusal(answer)[:2] for answer in asks] == [(code, "video_not_found")] * len(asks)
        assert theirs.get("/v1/videos").json()["data"] == []
        assert refusal(theirs.get("/v1/videos", params={"after": video_id})) == (400, "invalid_value", "after")
    assert mine.get(f"/v1/videos/{video_id}/content").status_code == 200


def test_idempotency_keys_belong_to_their_user(mine: httpx2.Client) -> None:
    ids = set()
    for key in (MINE, THEIRS, MINE):
        files = {"input_reference": ("a.png", png(), "image/png")}
        headers = bearer(key) | {"idempotency-key": "the same"}
        ids.add(mine.post("/v1/videos", data={"prompt": "a"}, files=files, headers=headers).json()["id"])
    assert len(ids) == 2


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:{port}", "localhost:{port}", "motif.example.evil.example", "motif.example:x",
        "evil.example@motif.example", "motif.example@evil.example", "motif.example/", "[motif.example]", "[::1]",
        "[127.0.0.1", "127.0.0.1]", "motif.example.", "", "\xbd", "motif.example,evil.example",
        "motif.example evil.example",
    ],
)  # fmt: skip
def test_only_under_its_own_names(mine: httpx2.Client, host: str) -> None:
    """A name that its owner points here after his page was loaded (DNS rebinding)."""
    host = host.format(port=mine.base_url.port)
    for path in ("/", "/health", "/v1/videos"):
        answer = mine.get(path, headers={"host": host.encode("latin-1")})
        assert refusal(answer)[:2] == (403, "host_not_allowed")


@pytest.mark.parametrize("host", ["motif.example", "MOTIF.example:443", "127.0.0.1", "127.0.0.1:1", "motif.example:"])
def test_under_all_its_own_names(mine: httpx2.Client, host: str) -> None:
    assert mine.get("/v1/videos", headers={"host": host}).status_code == 200


def test_a_request_without_a_host(guarded: Server) -> None:
    place = urlsplit(guarded.url)
    for version in ("1.0", "1.1"):
        with socket.create_connection((place.hostname, place.port), 10) as connection:
            connection.sendall(f"GET /health HTTP/{version}\r\nConnection: close\r\n\r\n".encode())
            assert connection.makefile("rb").read().startswith((b"HTTP/1.1 403", b"HTTP/1.1 400"))


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "", "http://pages.example", f"{PAGE}.evil.example", f"{PAGE}:444"]
)
def test_pages_of_other_origins_change_nothing(mine: httpx2.Client, unguarded: Server, origin: str) -> None:
    for url in (str(mine.base_url), unguarded.url):
        for method, path in (
            ("POST", "/v1/videos"),
            ("POST", "/v1/videos/sync"),
            ("DELETE", "/v1/videos/a"),
            ("PUT", "/"),
        ):
            answer = mine.request(method, f"{url}{path}", headers={"origin": origin})
            assert refusal(answer)[:2] == (403, "origin_not_allowed")
            assert "access-control-allow-origin" not in answer.headers
        answer = mine.get(f"{url}/v1/videos", headers={"origin": origin})
        assert (answer.status_code, "access-control-allow-origin" in answer.headers) == (200, False)


def test_its_own_pages_may_ask(unguarded: Server) -> None:
    answer = httpx2.post(f"{unguarded.url}/v1/videos", headers={"origin": unguarded.url})
    assert refusal(answer)[0] == 415


def test_pages_of_a_known_origin_may_ask(stranger: httpx2.Client) -> None:
    """A browser asks first, without the key that the page will send."""
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    answer = stranger.options("/v1/videos", headers={"origin": PAGE} | asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()
    assert "POST" in answer.headers["access-control-allow-methods"]
    files = {"input_reference": ("a.png", png(), "image/png")}
    made = stranger.post("/v1/videos", data={"prompt": "a"}, files=files, headers={"origin": PAGE} | bearer(MINE))
    assert (made.status_code, made.headers["access-control-allow-origin"]) == (200, PAGE)
    readable = {name.strip().lower() for name in made.headers["access-control-expose-headers"].split(",")}
    assert readable >= {
        "location", "openai-poll-after-ms", "retry-after", "x-request-id", "x-should-retry", "x-model", "x-seed",
        "x-video-id", "x-inference-time-s", "etag", "content-range", "content-disposition",
    }  # fmt: skip
    for key, code in (({}, "missing_api_key"), (bearer("wrong"), "invalid_api_key")):
        unknown = stranger.post("/v1/videos", data={"prompt": "a"}, files=files, headers={"origin": PAGE} | key)
        assert refusal(unknown)[:2] == (401, code)
        assert unknown.headers["access-control-allow-origin"] == PAGE
        assert "x-request-id" in unknown.headers["access-control-expose-headers"]
    large = stranger.post("/v1/videos", content=bytes(33 << 20), headers={"origin": PAGE} | bearer(MINE))
    assert (refusal(large)[:2], large.headers["access-control-allow-origin"]) == ((413, "body_too_large"), PAGE)
    refused = stranger.options("/v1/videos", headers={"origin": "https://evil.example"} | asked)
    assert refusal(refused)[:2] == (403, "origin_not_allowed")


@pytest.mark.parametrize(
    "route",
    [
        "GET /", "GET /health", "GET /v1/videos", "GET /v1/videos/none", "GET /page/page.js", "GET /page/none",
        "POST /v1/videos", "PUT /", "GET /metrics", "GET /nothing",
    ],
)  # fmt: skip
def test_headers_of_every_answer(unguarded: Server, route: str) -> None:
    method, _, path = route.partition(" ")
    answer = httpx2.request(method, f"{unguarded.url}{path}")
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["script-src"] == policy["connect-src"] == "'self'"
    assert (policy["frame-ancestors"], policy["base-uri"]) == ("'none'", "'none'")
    sources = {source for sources in policy.values() for source in sources.split()}
    assert not sources & {"'unsafe-inline'", "'unsafe-eval'", "*", "http:", "https:"}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert len(answer.headers["x-request-id"]) >= 16
    assert answer.headers["x-request-id"] != httpx2.get(f"{unguarded.url}/health").headers["x-request-id"]


def test_numbers_of_requests_are_given_once(unguarded: Server) -> None:
    """Ray Serve numbers requests itself, and adds the number to the answer on its way."""
    answer = httpx2.get(f"{unguarded.url}/health", headers={"x-request-id": "7"})
    assert "x-request-id" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/v1/videos/%00", "/v1/videos?after=a%00", "/v1/videos/a/content?variant=%00", "/%00"]
)
def test_addresses_with_a_nul(unguarded: Server, path: str) -> None:
    """PostgreSQL refuses to be asked for one."""
    assert refusal(httpx2.get(f"{unguarded.url}{path}")) == (400, "invalid_value", None)


@pytest.mark.parametrize("length", ["99999999999", "9" * 30, "33554433"])
def test_bodies_that_say_that_they_are_large(unguarded: Server, length: str) -> None:
    """Refused before a byte of them has come."""
    place = urlsplit(unguarded.url)
    with socket.create_connection((place.hostname, place.port), 10) as connection:
        head = (
            f"POST /v1/videos HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
        connection.sendall(head.encode())
        assert connection.recv(100).startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))
