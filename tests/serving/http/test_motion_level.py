"""Requests with a motion level, to models that take one and to others."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from serving.generate.models import ServedModel
from serving.requests.fields import read_fields
from serving.settings import Settings
from serving.video_api import VideoRequest
from tests.serving.calls import create, events, png, refusal
from tests.serving.server import Server, serve


@pytest.fixture
def served(leveled: ServedModel, tiny: ServedModel, settings: Settings) -> Iterator[Server]:
    with serve([leveled, tiny], settings) as running:
        yield running


@pytest.fixture
def client(served: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=served.url, timeout=60) as opened:
        yield opened


def video_of(client: httpx2.Client, **fields: Any) -> bytes:
    made = create(client, seed=3, **fields)
    assert events(client, made["id"])[-1][0] == "completed"
    return client.get(f"/v1/videos/{made['id']}/content").content


def test_left_out_it_is_five(client: httpx2.Client) -> None:
    usual, five, nine = (video_of(client, **fields) for fields in ({}, {"motion_level": 5}, {"motion_level": 9}))
    assert usual == five
    assert five != nine
    shown = [video["motion_level"] for video in client.get("/v1/videos").json()["data"]]
    assert shown == [9, 5, 5]


def test_jobs_of_several_levels_share_a_batch(client: httpx2.Client, served: Server) -> None:
    alone = video_of(client, motion_level=9)
    served.hold.set()
    ids = [create(client, seed=3, motion_level=level)["id"] for level in (1, 9)]
    served.hold.clear()
    last = video_of(client, motion_level=9)
    found = [client.get(f"/v1/videos/{video_id}/content").content for video_id in ids]
    assert found[1] == last == alone
    assert found[0] != alone


def test_a_remix_keeps_it(client: httpx2.Client) -> None:
    video = create(client, motion_level=8)
    other = client.post(f"/v1/videos/{video['id']}/remix", json={"prompt": "b"}).json()
    assert (other["motion_level"], other["seed"]) == (8, video["seed"])


def test_models_without_levels_refuse_one(client: httpx2.Client, served: Server) -> None:
    files = {"input_reference": ("a.png", png(), "image/png")}
    answer = client.post("/v1/videos", data={"prompt": "a", "model": "tiny", "motion_level": 5}, files=files)
    assert refusal(answer) == (400, "unsupported_value", "motion_level")
    assert answer.json()["error"]["message"] == "tiny takes no motion level: leave it out."
    assert served.store.upkeep.ids() == set()
    assert create(client, model="tiny")["motion_level"] is None


def test_a_remix_by_a_model_of_the_other_kind(leveled: ServedModel, tiny: ServedModel, settings: Settings) -> None:
    with serve([leveled], settings) as server, httpx2.Client(base_url=server.url, timeout=60) as client:
        video_id = create(client)["id"]
        events(client, video_id)
    swapped = replace(tiny, id="leveled")
    with serve([swapped], settings) as server, httpx2.Client(base_url=server.url, timeout=60) as client:
        assert client.get(f"/v1/videos/{video_id}").json()["motion_level"] == 5
        answer = client.post(f"/v1/videos/{video_id}/remix", json={"prompt": "b"})
        assert refusal(answer) == (400, "unsupported_value", None)


def test_a_request_without_one_is_known_as_in_earlier_versions(client: httpx2.Client, served: Server) -> None:
    """A request that is sent again after an update, with the same key, gives the video of the first."""
    files = {"input_reference": ("a.png", png(), "image/png")}
    data = {"prompt": "a", "model": "tiny"}
    answer = client.post("/v1/videos", data=data, files=files, headers={"idempotency-key": "k"})
    fields = read_fields(VideoRequest, {"prompt": "a", "model": "tiny"}).model_dump(mode="json", exclude={"user"})
    assert fields.pop("motion_level") is None
    content = json.dumps({"fields": fields, "url": None}, sort_keys=True).encode()
    expected = hashlib.sha256(content + hashlib.sha256(png()).digest()).hexdigest()
    found = served.store.by_key("", "k")
    assert found is not None
    assert (found[0].id, found[1]) == (answer.json()["id"], expected)
