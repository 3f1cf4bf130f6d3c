"""Requests to text-to-video models: no picture is needed, and one that is given is refused."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from models.misfits import superfluous_image
from serving.generate.models import ServedModel
from serving.settings import Settings
from tests.serving.calls import create, events, png, refusal
from tests.serving.server import Server, serve


@pytest.fixture
def client(both: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=both.url, timeout=60) as opened:
        yield opened


def file_of(text: str) -> dict[str, Any]:
    """A multipart body without a file."""
    return {"files": {"prompt": (None, text)}}


@pytest.mark.parametrize(
    "body", [{"json": {"prompt": "a", "input_reference": None}}, {"data": {"prompt": "a"}}, file_of("a")]
)
def test_a_video_is_made_without_a_picture(client: httpx2.Client, both: Server, body: dict[str, Any]) -> None:
    answer = client.post("/v1/videos", **body)
    assert (answer.status_code, answer.json()["model"], answer.json()["size"]) == (200, "words", "64x32")
    video_id = answer.json()["id"]
    assert events(client, video_id)[-1][0] == "completed"
    assert client.get(f"/v1/videos/{video_id}/content").content[4:8] == b"ftyp"
    names = {path.name for path in (both.files / video_id).iterdir()}
    assert names == {"video.mp4", "thumbnail.webp", "spritesheet.jpg"}


def test_at_once(client: httpx2.Client) -> None:
    answer = client.post("/v1/videos/sync", json={"prompt": "a", "seed": 3})
    assert (answer.headers["x-model"], answer.content[4:8]) == ("words", b"ftyp")


URL = f"data:image/png;base64,{base64.b64encode(png()).decode()}"


@pytest.mark.parametrize("path", ["/v1/videos", "/v1/videos/sync"])
@pytest.mark.parametrize(
    "body",
    [
        {"data": {"prompt": "a"}, "files": {"input_reference": ("a.png", png(), "image/png")}},
        {"data": {"prompt": "a"}, "files": {"image_reference": ("a.png", b"no picture at all", "image/png")}},
        {"json": {"prompt": "a", "input_reference": {"image_url": URL}}},
        {"json": {"prompt": "a", "input_reference": {"image_url": "https://example.org/a.png"}}},
        {"data": {"prompt": "a", "input_reference": URL}},
    ],
)
def test_a_picture_is_refused_in_any_form(client: httpx2.Client, both: Server, path: str, body: dict[str, Any]) -> None:
    answer = client.post(path, **body, headers={"idempotency-key": "k"})
    assert refusal(answer) == (400, "unsupported_value", "input_reference")
    assert answer.json()["error"]["message"] == superfluous_image("words")
    assert both.store.upkeep.ids() == set()
    again = client.post("/v1/videos", json={"prompt": "a"}, headers={"idempotency-key": "k"})
    assert again.status_code == 200  # what was refused has not taken the key


def test_each_model_has_its_own_need(client: httpx2.Client, both: Server) -> None:
    listed = client.get("/v1/models").json()["data"]
    assert {m["id"]: m["capabilities"]["input_reference"] for m in listed} == {"words": "none", "tiny": "required"}
    answer = client.post("/v1/videos", json={"prompt": "a", "model": "tiny"})
    assert refusal(answer) == (400, "missing_parameter", "input_reference")
    assert answer.json()["error"]["message"] == "'input_reference' is missing: give the picture to begin with."
    made = create(client, model="tiny")
    assert (both.files / made["id"] / "picture.png").exists()
    assert events(client, made["id"])[-1][1]["status"] == "completed"


def test_the_size_is_the_models_own(client: httpx2.Client) -> None:
    sizes = [{}, {"size": "64x32"}, {"width": 64, "height": 32}]
    answers = [client.post("/v1/videos", json={"prompt": "a"} | size) for size in sizes]
    assert [answer.json()["size"] for answer in answers] == ["64x32"] * 3
    refused = client.post("/v1/videos", json={"prompt": "a", "size": "32x64"})
    assert refusal(refused) == (400, "unsupported_value", "size")


def test_a_repeated_request_makes_one_video(client: httpx2.Client, both: Server) -> None:
    def ask(body: dict[str, Any], path: str = "/v1/videos") -> httpx2.Response:
        return client.post(path, **body, headers={"idempotency-key": "k"})

    both.hold.set()
    same = [ask({"json": {"prompt": "a"}}), ask(file_of("a")), ask({"data": {"prompt": "a"}})]
    assert len({answer.json()["id"] for answer in same}) == 1
    assert refusal(ask({"json": {"prompt": "b"}}))[:2] == (409, "idempotency_key_reused")
    both.hold.clear()
    create(client, model="tiny")  # calls the worker
    assert ask({"json": {"prompt": "a"}}, "/v1/videos/sync").headers["x-video-id"] == same[0].json()["id"]


def test_a_remix_keeps_the_seed(client: httpx2.Client, both: Server) -> None:
    video = client.post("/v1/videos", json={"prompt": "a", "seed": 9}).json()
    other = client.post(f"/v1/videos/{video['id']}/remix", json={"prompt": "b"}).json()
    assert (other["seed"], other["prompt"], other["remixed_from_video_id"]) == (9, "b", video["id"])
    assert events(client, other["id"])[-1][1]["status"] == "completed"
    files = {"input_reference": ("a.png", png(), "image/png")}
    answer = client.post(f"/v1/videos/{video['id']}/remix", data={"prompt": "b"}, files=files)
    assert refusal(answer) == (400, "unknown_parameter", "input_reference")


def test_a_full_queue_leaves_nothing(client: httpx2.Client, both: Server) -> None:
    both.hold.set()
    for _ in range(both.settings.queue):
        assert client.post("/v1/videos", json={"prompt": "a"}).status_code == 200
    assert refusal(client.post("/v1/videos", json={"prompt": "a"}))[:2] == (429, "queue_full")
    assert not both.files.exists()


def test_videos_outlive_a_model_that_is_replaced_by_one_of_the_other_kind(
    words: ServedModel, tiny: ServedModel, settings: Settings
) -> None:
    """They stay readable; a remix needs the model that made the video, or at least one of its kind."""
    with serve([words, tiny], settings) as server, httpx2.Client(base_url=server.url, timeout=60) as client:
        of_text = client.post("/v1/videos", json={"prompt": "a"}).json()["id"]
        of_picture = create(client, model="tiny")["id"]
        for video_id in (of_text, of_picture):
            events(client, video_id)
    swapped = [replace(words, id="tiny"), replace(tiny, id="words")]
    with serve(swapped, settings) as server, httpx2.Client(base_url=server.url, timeout=60) as client:
        for video_id, model in ((of_text, "words"), (of_picture, "tiny")):
            assert client.get(f"/v1/videos/{video_id}").json()["status"] == "completed"
            answer = client.post(f"/v1/videos/{video_id}/remix", json={"prompt": "b"})
            assert refusal(answer) == (400, "unsupported_value", None)
            assert answer.json()["error"]["message"].startswith(f"{model} is not the model that made this video")
