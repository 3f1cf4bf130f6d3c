"""The client against the real server: what it says, and what it makes of the answers."""

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from base.errors import InputError
from models.misfits import superfluous_image
from serving.client.client import Client
from serving.client.http import RefusedError, ServerError
from serving.generate.models import ServedModel
from serving.settings import Settings, key_hash
from serving.video_api import Video, VideoSettings
from tests.serving.calls import picture
from tests.serving.scripted import scripted, video
from tests.serving.server import Server, serve


def test_from_a_picture_to_a_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "star.png").write_bytes(picture())
    told_of: list[Video] = []
    out, wanted = tmp_path / "a.mp4", VideoSettings(seed=7, seconds=0.4, extra_params={"eta": 0.5})
    with Client(server.url) as client:
        made = client.generate("a star", tmp_path / "star.png", out, told_of.append, **wanted)
        assert (made.status, made.seed, made.seconds, made.size, made.num_frames) == ("completed", 7, "0.4", "64x32", 4)
        assert made.inference_time_s is not None
        assert told_of[-1] == client.get(made.id) == made
        assert out.read_bytes() == client.content(made.id)
        client.download(made.id, tmp_path / "a.webp", "thumbnail")
    with Image.open(tmp_path / "a.webp") as thumbnail:
        assert thumbnail.size == (64, 32)


def test_from_text_alone_to_a_file(both: Server, tmp_path: Path) -> None:
    with Client(both.url) as client:
        made = client.generate("a star " * 4000, out=tmp_path / "a.mp4", seed=7, extra_params={"eta": 0.5})
        assert (made.status, made.model, made.size, made.prompt) == ("completed", "words", "64x32", "a star " * 4000)
        assert (tmp_path / "a.mp4").read_bytes() == client.content(made.id)
        needs = {model["id"]: model["capabilities"]["input_reference"] for model in client.models()}
        assert needs == {"words": "none", "tiny": "required"}
        with pytest.raises(RefusedError, match="'input_reference' is missing"):
            client.create("a star", model="tiny")
        with pytest.raises(RefusedError) as refused:
            client.create("a star", picture(), model="words")
        assert str(refused.value) == superfluous_image("words")
        with pytest.raises(InputError, match="out is missing"):
            client.generate("a star", tmp_path / "a.mp4")


def test_each_stage_is_told(server: Server) -> None:
    server.hold.set()
    told_of: list[Video] = []

    def on_progress(now: Video) -> None:
        told_of.append(now)
        server.hold.clear()

    with Client(server.url) as client:
        client.wait(client.create("a star", picture(), num_inference_steps=100).id, on_progress, limit_s=100)
    assert [now.progress for now in told_of] == sorted(now.progress for now in told_of)
    assert {"queued", "denoising", "done"} <= {now.stage for now in told_of}


def test_one_key_makes_one_job(server: Server) -> None:
    server.hold.set()
    with Client(server.url) as client:
        first, second = (client.create("a star", picture(), idempotency_key="mine") for _ in range(2))
        other = client.create("a star", picture())
        assert first.id == second.id != other.id
        with pytest.raises(RefusedError) as caught:
            client.create("a square", picture(), idempotency_key="mine")
        assert (caught.value.status, caught.value.code) == (409, "idempotency_key_reused")
        remixed = [client.remix(first.id, "a square", idempotency_key="remix").id for _ in range(2)]
        assert remixed[0] == remixed[1]
        assert client.get(remixed[0]).remixed_from_video_id == first.id


def test_lists(server: Server) -> None:
    server.hold.set()
    with Client(server.url) as client:
        ids = [client.create(f"star {number}", picture()).id for number in range(3)]
        page = client.list(limit=2)
        assert ([found.id for found in page.data], page.has_more) == (ids[:0:-1], True)
        assert (page.first_id, page.last_id) == (ids[2], ids[1])
        assert [found.id for found in client.list(after=page.last_id).data] == ids[:1]
        assert [found.id for found in client.videos("asc")] == ids
        assert [model["id"] for model in client.models()] == ["tiny"]


def test_what_is_deleted_ends_the_wait(server: Server) -> None:
    server.hold.set()
    with Client(server.url) as client, Client(server.url) as other:
        made = client.create("a star", picture())
        timer = threading.Timer(0.5, other.delete, [made.id])
        timer.start()
        with pytest.raises(RefusedError, match=f"no video '{made.id}'"):
            client.wait(made.id, limit_s=60)
        timer.join()
        assert client.list().data == ()


def test_a_video_that_is_not_ready(server: Server, tmp_path: Path) -> None:
    server.hold.set()
    with Client(server.url) as client:
        made = client.create("a star", picture())
        with pytest.raises(RefusedError) as caught:
            client.download(made.id, tmp_path / "a.mp4")
        assert caught.value.code == "video_not_ready"
        with pytest.raises(ServerError, match="is queued at 0 %") as late:
            client.wait(made.id, limit_s=0.3)
        assert late.value.code == "timeout"
    assert list(tmp_path.glob("*.mp4*")) == []


def test_what_the_server_refuses_is_told_in_its_words(server: Server) -> None:
    with Client(server.url) as client, pytest.raises(RefusedError, match="num_inference_steps") as caught:
        client.create("a star", picture(), num_inference_steps=1000)
    assert (caught.value.status, caught.value.param) == (400, "num_inference_steps")


def test_a_full_queue_is_waited_for(tiny: ServedModel, settings: Settings, tmp_path: Path) -> None:
    lines: list[str] = []
    with serve([tiny], replace(settings, queue=1)) as server:

        def make_place(line: str) -> None:
            lines.append(line)
            server.hold.clear()

        with Client(server.url, on_retry=make_place) as client:
            client.generate("a star", picture(), tmp_path / "a.mp4")  # the server's Retry-After goes by its pace
            server.hold.set()
            ids = [client.create(f"star {number}", picture()).id for number in range(2)]
            assert {client.wait(made).status for made in ids} == {"completed"}
    assert "Trying again in" in lines[0]


def test_keys(tiny: ServedModel, settings: Settings) -> None:
    with serve([tiny], replace(settings, key_hashes=(key_hash("correct"),)), with_worker=False) as server:
        with Client(server.url, key="correct") as client:
            assert client.list().data == ()
        for key, code in ((None, "missing_api_key"), ("wrong", "invalid_api_key")):
            with Client(server.url, key) as client, pytest.raises(RefusedError) as caught:
                client.list()
            assert caught.value.code == code


def test_it_needs_neither_torch_nor_ray() -> None:
    heavy = "{'torch', 'ray', 'fastapi', 'starlette'}"
    code = f"import sys, serving.client.client; print(sorted({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_request_carries_what_was_said_and_not_the_file_s_name(tmp_path: Path) -> None:
    (tmp_path / "my secret.png").write_bytes(b"pixels")
    with scripted(video(), video()) as script, Client(f"{script.url}/v1/", key="s3cret") as client:
        asked = client.create(
            "a star", tmp_path / "my secret.png", seed=7, guidance_scale=7.5, model=None, extra_params={"eta": 0.5}
        )
        client.create("a star", b"pixels", idempotency_key="mine")
    assert asked == Video("video_1", "completed", model="toy", progress=100, seed=7)
    first, second = script.seen
    assert (first.method, first.path) == ("POST", "/v1/videos")
    assert first.headers["authorization"] == "Bearer s3cret"
    assert len(first.headers["idempotency-key"]) == 32
    assert second.headers["idempotency-key"] == "mine"
    for part in (
        b'name="seed"\r\n\r\n7\r\n',
        b'name="guidance_scale"\r\n\r\n7.5\r\n',
        b'"extra_params[eta]"\r\n\r\n0.5',
    ):
        assert part in first.body
    assert b'filename="image.png"\r\nContent-Type: image/png\r\n\r\npixels' in first.body
    assert b"secret" not in first.body
    assert b"model" not in first.body


def test_wrong_input_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    for url in ("127.0.0.1:8000", "ftp://host", "http://", "http://host:x"):
        with pytest.raises(InputError, match=r"^url "):
            Client(url)
    with pytest.raises(InputError, match="not allowed in an HTTP header"):
        Client("http://127.0.0.1:1", key="schlüssel")
    client = Client("http://127.0.0.1:1")
    with pytest.raises(InputError, match=r"none\.png cannot be read: No such file"):
        client.create("a star", tmp_path / "none.png")
    with pytest.raises(InputError, match="steps: no such setting; did you mean num_inference_steps"):
        client.create("a star", b"pixels", num_steps=3)  # type: ignore[call-arg]
    client.close()
