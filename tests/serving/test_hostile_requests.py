"""Requests that nobody sends by accident: fields, prompts, paths, ranges, the same thing twice, and hanging up."""

import base64
import io
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any
from urllib.parse import urlsplit

import av
import httpx2
import pytest

from serving.generate.models import ServedModel
from tests.serving.calls import create, events, png
from tests.serving.hostile import as_json, check_traces, form, refusal, target_in
from tests.serving.server import Server


@pytest.fixture(scope="module")
def target(tiny: ServedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with target_in(tmp_path_factory.mktemp("target"), tiny) as server:
        yield server


@pytest.fixture(scope="module")
def client(target: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=target.url, timeout=60) as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_traces(target: Server, client: httpx2.Client, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    check_traces(target, client, caplog)


PROMPTS = {
    "English": "a star moves", "German": "ein Stern fällt über Österreich", "Chinese": "一颗流星划过天空",
    "Japanese": "流れ星が夜空を横切る", "Korean": "별이 움직인다", "Arabic": "نجمة تتحرك", "Hebrew": "כוכב זז",
    "Hindi": "एक तारा चलता है", "Thai": "ดาวเคลื่อนที่", "Russian": "звезда движется", "Greek": "ένα αστέρι κινείται",
    "Amharic": "ኮከብ ይንቀሳቀሳል", "beyond the first plane": "𒀀𓀀𠀀\U0010fffd", "no character yet": "\uffff\U000e0001",
    "a family": "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "a flag": "\U0001f3f3\ufe0f\u200d\U0001f308 \U0001f1e8\U0001f1ed", "a hand": "\U0001f44b\U0001f3ff",
    "many marks": "Z\u0338\u0322\u031b\u0360a\u034d" * 50, "marks alone": "\u0301\u0302",
    "unnormalised": "A\u030a\u212b",
    "right to left": "\u202eabc\u202c \u2066x\u2069", "nothing to see": "\u200b\u200d\ufeff\u00ad",
    "controls": "a\r\n\tb\x01\x1b[31m\x7f\x85", "HTML": "<img src=x onerror=alert(1)>", "SQL": "'; DROP TABLE jobs;",
    "formats": "%s %n {0} ${a} {{7*7}}", "a path": "../../etc/passwd", "a space": " ", "long": "ü" * 32_000,
}  # fmt: skip


@pytest.mark.parametrize("name", PROMPTS)
def test_prompts_in_all_scripts(client: httpx2.Client, name: str) -> None:
    """They come back as they were sent, and the video has them in its metadata."""
    prompt = PROMPTS[name]
    for answer in (
        as_json(client, png(), prompt=prompt, negative_prompt=prompt, num_inference_steps=1),
        form(client, png(), prompt=prompt, num_inference_steps=1),
    ):
        assert (answer.status_code, answer.json()["prompt"]) == (200, prompt)
        path = f"/v1/videos/{answer.json()['id']}"
        assert events(client, answer.json()["id"])[-1][0] == "completed"
        assert client.get(path).json()["prompt"] == prompt
        with av.open(io.BytesIO(client.get(f"{path}/content").content)) as container:
            assert container.metadata["prompt"] == prompt


INVALID = {
    "prompt": ['""', "null", "1", '["a"]', '"\\ud800"', '"a\\u0000"', "[" * 900 + "]" * 900, json.dumps("a" * 32_001)],
    "negative_prompt": ['"\\udfff"', "1"],
    "model": ['"\\u0000"', '"\\ud800"', "7"],
    "seed": [
        "true", "-1", str(2**63), "7.5", "1" + "0" * 400, '"1_0"', '"٧"', '"0x7"', '""', "{}", "1e400",
        '"' + "9" * 5000 + '"',
    ],
    "num_frames": ["0", "-4", "NaN", "1" + "0" * 400],
    "fps": ["0", "-8", "5e-324", "1e300", "Infinity", '"nan"', '"inf"', "false", '"8 "'],
    "seconds": ["0", "-1", "601", "NaN", "1" + "0" * 400, "[2]"],
    "guidance_scale": ["NaN", "-Infinity", "20.1", '"1,5"'],
    "num_inference_steps": ["0", "201", "2.5", "true"],
    "size": ['"-64x-32"', '"99999999x1"', '"64×32"', '"٦٤x٣٢"', "64"],
    "extra_params": ["7", "[]", '{"eta": 2}', '{"spacing": "both"}', '{"\\ud800": 1}', '{"eta": {"eta": 1}}'],
}  # fmt: skip
UNSUPPORTED = {"num_frames": ["5", "10000"], "seconds": ["5e-324", "1e-3", "599"], "size": ['"64x33"', '"32x64"']}
UNKNOWN = {
    "promt": ['"a"'],
    "__class__": ["1"],
    "": ["1"],
    "input_reference.path": ['"/etc"'],
    "extra_params": ['{"etta": 1}'],
}
WRONG = [
    (name, value, code)
    for code, fields in {
        "invalid_value": INVALID,
        "unsupported_value": UNSUPPORTED,
        "unknown_parameter": UNKNOWN,
    }.items()
    for name, values in fields.items()
    for value in values
]


@pytest.mark.parametrize(("name", "value", "code"), WRONG, ids=lambda text: repr(text[:30]))
def test_values_that_are_none(client: httpx2.Client, name: str, value: str, code: str) -> None:
    url = f"data:;base64,{base64.b64encode(png()).decode()}"
    body = f'{{"prompt": "a", "input_reference": {{"image_url": "{url}"}}, {json.dumps(name)}: {value}}}'
    answer = client.post("/v1/videos", content=body.encode(), headers={"content-type": "application/json"})
    status, found, param = refusal(answer)
    assert (status, found) == (400, code)
    assert (param or "").partition(".")[0] == name.partition(".")[0]


def test_names_that_are_none(client: httpx2.Client) -> None:
    body = b'{"prompt": "a", "\\ud800": 1}'
    answer = client.post("/v1/videos", content=body, headers={"content-type": "application/json"})
    assert refusal(answer) == (400, "invalid_value", None)
    long = as_json(client, png(), **{"a" * 1_000_000: 1})
    assert refusal(long) == (400, "unknown_parameter", "a" * 80)


def test_a_field_that_was_meant_otherwise(client: httpx2.Client) -> None:
    for ask in (form, as_json):
        answer = ask(client, png(), num_inference_stps="2")
        assert refusal(answer) == (400, "unknown_parameter", "num_inference_stps")
        assert "Did you mean 'num_inference_steps'?" in answer.json()["error"]["message"]
    twice = [("prompt", (None, "a")), ("prompt", (None, "b")), ("input_reference", ("a.png", png()))]
    assert refusal(client.post("/v1/videos", files=twice)) == (400, "invalid_value", "prompt")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/videos/..%2f..%2fetc%2fpasswd",
        "/v1/videos/%00",
        "/v1/videos/%ff",
        "/v1/videos/video_1/content?variant=../a",
        "/page/..%2fapi.py",
        "/page/%2e%2e/api.py",
        "/v1/videos/" + "a" * 9000,
        "/%2e%2e/%2e%2e/etc/passwd",
        "/v1/videos/",
    ],
)
def test_paths_lead_nowhere(client: httpx2.Client, path: str) -> None:
    assert refusal(client.get(path))[0] in (400, 404)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "OPTIONS", "PROPFIND"])
def test_other_methods(client: httpx2.Client, method: str) -> None:
    for path, allowed in (("/v1/videos", "GET, POST"), ("/v1/videos/video_1", "DELETE, GET"), ("/health", "GET")):
        answer = client.request(method, path)
        assert refusal(answer) == (405, "method_not_allowed", None)
        assert answer.headers["allow"] == allowed


def test_many_headers(client: httpx2.Client) -> None:
    answer = client.get("/v1/videos", headers={f"x-{number}": "a" * 1000 for number in range(1000)})
    assert answer.status_code < 500


RANGES = {
    "bytes=0-0": (0, 1), "bytes=0-": (0, None), "bytes=-1": (-1, None), "bytes=-99999999": (0, None),
    "bytes=7-99999999": (7, None), "bytes= 3 - 4": (3, 5),
    "bytes=-0": None, "bytes=99999999-": None, "bytes=99999999-999999999": None,
}  # fmt: skip
NO_RANGES = [
    "", "bytes", "bytes=", "bytes=-", "bytes=5-2", "bytes=a-b", "bytes=--1", "bytes=0x1-2", "items=0-1",
    "bytes=0-1,3-4", "bytes=0-" + "9" * 30, "bytes=" + "0-1," * 5000, "bytes=\xb2-\xb3",
]  # fmt: skip


@pytest.fixture(scope="module")
def content(client: httpx2.Client) -> str:
    """The path of a video's file."""
    video = create(client, num_inference_steps="1")
    events(client, video["id"])
    return f"/v1/videos/{video['id']}/content"


@pytest.mark.parametrize("asked", RANGES)
def test_ranges(client: httpx2.Client, content: str, asked: str) -> None:
    whole = client.get(content).content
    answer = client.get(content, headers={"range": asked})
    if RANGES[asked] is None:
        assert refusal(answer) == (416, "range_not_satisfiable", None)
        assert answer.headers["content-range"] == f"bytes */{len(whole)}"
    else:
        assert (answer.status_code, answer.content) == (206, whole[slice(*RANGES[asked])])


@pytest.mark.parametrize("asked", NO_RANGES, ids=lambda text: repr(text[:30]))
def test_what_is_no_range_is_not_heeded(client: httpx2.Client, content: str, asked: str) -> None:
    answer = client.get(content, headers={"range": asked.encode("latin-1")})
    assert (answer.status_code, answer.content) == (200, client.get(content).content)


def test_what_is_already_there_is_not_sent_again(client: httpx2.Client, content: str) -> None:
    tag = client.get(content).headers["etag"]
    for value, status in (
        (tag, 304),
        (f'"a", {tag}', 304),
        (f"W/{tag}", 304),
        ("*", 304),
        ('"a"', 200),
        (tag[:-1], 200),
    ):
        assert client.get(content, headers={"if-none-match": value}).status_code == status
    for value, status in ((tag, 206), ('"a"', 200), (f"W/{tag}", 200), ("Sat, 01 Jan 2000 00:00:00 GMT", 200)):
        assert client.get(content, headers={"if-range": value, "range": "bytes=0-1"}).status_code == status
    head = client.head(content, headers={"range": "bytes=2-4"})
    assert (head.status_code, head.content, head.headers["content-length"]) == (206, b"", "3")


@pytest.mark.parametrize("prompts", [["a"] * 6, ["a", "b", "c"] * 2], ids=["one request", "three requests"])
def test_the_same_key_several_times_at_once(target: Server, client: httpx2.Client, prompts: list[str]) -> None:
    before, start = target.store.upkeep.ids(), Barrier(len(prompts))
    headers = {"idempotency-key": f"key for {len(set(prompts))}"}

    def ask(prompt: str) -> httpx2.Response:
        fields = {"prompt": prompt, "num_inference_steps": "1"}
        start.wait()
        files = {"input_reference": ("a.png", png(), "image/png")}
        return httpx2.post(f"{target.url}/v1/videos", data=fields, files=files, headers=headers, timeout=60)

    with ThreadPoolExecutor(len(prompts)) as pool:
        answers = list(pool.map(ask, prompts))
    (made,) = target.store.upkeep.ids() - before
    chosen = client.get(f"/v1/videos/{made}").json()["prompt"]
    for prompt, answer in zip(prompts, answers, strict=True):
        if prompt == chosen:
            assert (answer.status_code, answer.json()["id"]) == (200, made)
        else:
            assert refusal(answer)[:2] == (409, "idempotency_key_reused")
            assert answer.headers["x-should-retry"] == "false"


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_those_who_hang_up_while_they_wait(
    target: Server, client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step that is under way is the last one."""
    eventually(lambda: not target.store.upkeep.state().in_progress)
    before, steps, advance = target.store.upkeep.ids(), list[set[str]](), target.store.queue.advance
    reached, gone = Event(), Event()

    def noted(*told: Any) -> set[str]:
        if len(steps) == 5:
            reached.set()
            gone.wait(20)
        steps.append(advance(*told))
        return steps[-1]

    monkeypatch.setattr(target.store.queue, "advance", noted)
    url = f"data:;base64,{base64.b64encode(png()).decode()}"
    body = json.dumps({"prompt": "a", "num_inference_steps": 200, "input_reference": {"image_url": url}}).encode()
    head = "POST /v1/videos/sync HTTP/1.1\r\nHost: a\r\nContent-Type: application/json"
    place = urlsplit(target.url)
    with socket.create_connection((place.hostname, place.port), 10) as connection:
        connection.sendall(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        assert reached.wait(20)
    eventually(lambda: target.store.upkeep.ids() == before)
    gone.set()
    assert events(client, create(client, num_inference_steps="1")["id"])[-1][0] == "completed"
    assert [bool(step) for step in steps[:6]] == [True] * 5 + [False]
    assert all(steps[6:])


def test_those_who_hang_up_while_they_listen(target: Server, client: httpx2.Client) -> None:
    target.hold.set()
    video = create(client)
    with client.stream("GET", f"/v1/videos/{video['id']}/events") as answer:
        assert next(answer.iter_lines()) == "event: progress"
    assert client.delete(f"/v1/videos/{video['id']}").status_code == 200
    target.hold.clear()
