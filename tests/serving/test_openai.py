"""The `openai` package against our server: what users of that API have in their programs works, and fails, as there."""

import asyncio
import base64
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from PIL import Image

from serving.generate.models import ServedModel
from serving.settings import Settings, key_hash
from tests.serving.calls import picture
from tests.serving.server import Server, serve

# The package calls its whole video API deprecated, since the service that it was made for ends.
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")

KEYS = {
    "id", "object", "model", "status", "progress", "created_at", "completed_at", "expires_at", "prompt", "size",
    "seconds", "remixed_from_video_id", "error", "seed", "queue_position", "stage", "inference_time_s", "warnings",
}  # fmt: skip
SOON = {"num_inference_steps": 2}


@pytest.fixture
def client(server: Server) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none is asked for", max_retries=0) as made:
        yield made


def test_from_a_picture_to_a_file(client: OpenAI, tmp_path: Path) -> None:
    video = client.videos.create_and_poll(
        prompt="the star moves",
        model="tiny",
        input_reference=("star.png", picture(), "image/png"),
        seconds="0.4",  # type: ignore[arg-type] - the package knows other models' lengths and sizes alone
        size="64x32",  # type: ignore[arg-type]
        extra_body=SOON,
    )
    assert (video.status, video.progress, video.seconds, video.size) == ("completed", 100, "0.4", "64x32")
    assert video.completed_at is not None
    assert video.expires_at is not None
    assert video.created_at <= video.completed_at < video.expires_at
    client.videos.download_content(video.id).write_to_file(tmp_path / "a.mp4")
    with av.open(tmp_path / "a.mp4") as container:
        assert [(frame.width, frame.height) for frame in container.decode(video=0)] == [(64, 32)] * 4
    for variant, size in (("thumbnail", (64, 32)), ("spritesheet", (128, 64))):
        got = client.videos.download_content(video.id, variant=variant)  # type: ignore[arg-type]
        assert Image.open(io.BytesIO(got.content)).size == size
    with client.videos.with_streaming_response.download_content(video.id) as response:
        response.stream_to_file(tmp_path / "b.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_from_text_alone_to_a_file(words: ServedModel, settings: Settings, tmp_path: Path) -> None:
    with serve([words], settings) as server, OpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        video = client.videos.create_and_poll(prompt="the star moves", extra_body=SOON)
        assert (video.status, video.model, video.size) == ("completed", "words", "64x32")
        client.videos.download_content(video.id).write_to_file(tmp_path / "a.mp4")
        with av.open(tmp_path / "a.mp4") as container:
            assert len(list(container.decode(video=0))) == 4
        with pytest.raises(openai.BadRequestError, match="makes videos from text alone") as caught:
            client.videos.create(prompt="a star", input_reference=picture())
        assert (caught.value.param, caught.value.code) == ("input_reference", "unsupported_value")


def test_every_key_is_there_from_the_first_answer_on(client: OpenAI, server: Server) -> None:
    server.hold.set()
    video = client.videos.create(prompt="a star", input_reference=picture())
    assert video.to_dict().keys() >= KEYS
    assert (video.status, video.object, video.model, video.prompt) == ("queued", "video", "tiny", "a star")
    assert client.videos.retrieve(video.id) == video


def test_our_own_settings_go_into_the_extra_body(client: OpenAI, server: Server) -> None:
    server.hold.set()
    ours = {
        "seed": 7, "num_frames": 3, "fps": 6.0, "num_inference_steps": 2, "guidance_scale": 1.5,
        "negative_prompt": "blur",
    }  # fmt: skip
    extra = {"extra_params": {"eta": 0.5, "guidance_rescale": 0.7}}
    video = client.videos.create(prompt="a star", input_reference=picture(), extra_body=ours | extra)
    assert video.to_dict().items() >= ours.items()
    job = server.store.get("", video.id)
    assert job is not None
    assert (job.order.sampling.eta, job.order.sampling.guidance_rescale) == (0.5, 0.7)


def test_pictures_come_in_several_ways(client: OpenAI, server: Server, tmp_path: Path) -> None:
    server.hold.set()
    (tmp_path / "ä star.png").write_bytes(picture())
    url = {"image_url": f"data:image/png;base64,{base64.b64encode(picture()).decode()}"}
    ids = [
        client.videos.create(prompt="a star", input_reference=tmp_path / "ä star.png").id,
        client.videos.create(prompt="a star", input_reference=io.BytesIO(picture())).id,
        client.videos.create(prompt="a star", extra_body={"input_reference": url}).id,
    ]
    kept = {(server.files / video_id / "picture.png").read_bytes() for video_id in ids}
    assert len(kept) == 1


def test_lists_come_in_pages(client: OpenAI, server: Server) -> None:
    server.hold.set()
    ids = [client.videos.create(prompt=f"star {number}", input_reference=picture()).id for number in range(5)]
    assert [video.id for video in client.videos.list(limit=2)] == ids[::-1]
    assert [video.id for video in client.videos.list(limit=2, order="asc", after=ids[0])] == ids[1:]
    page = client.videos.list(limit=2)
    assert page.has_more
    assert page.last_id == ids[3]
    assert page.has_next_page()
    assert not client.videos.list(limit=5).has_next_page()
    assert client.videos.list(limit=0).data == []


def test_a_remix_is_another_video_of_the_same_picture(client: OpenAI) -> None:
    first = client.videos.create_and_poll(prompt="a star", input_reference=picture(), extra_body=SOON | {"seed": 5})
    second = client.videos.remix(first.id, prompt="a square")
    assert (second.remixed_from_video_id, second.prompt, second.to_dict()["seed"]) == (first.id, "a square", 5)
    second = client.videos.poll(second.id)
    assert second.status == "completed"
    assert client.videos.download_content(second.id).content != client.videos.download_content(first.id).content


def test_deleted_is_gone(client: OpenAI, server: Server) -> None:
    server.hold.set()
    video = client.videos.create(prompt="a star", input_reference=picture())
    deleted = client.videos.delete(video.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (video.id, "video.deleted", True)
    for ask in (client.videos.retrieve, client.videos.delete, client.videos.download_content):
        with pytest.raises(openai.NotFoundError) as caught:
            ask(video.id)
        assert caught.value.code == "video_not_found"


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ({"prompt": ""}, "prompt", "invalid_value"),
        ({"extra_body": {"sed": 7}}, "sed", "unknown_parameter"),
        ({"extra_body": {"extra_params": {"etta": 1}}}, "extra_params.etta", "unknown_parameter"),
        ({"extra_body": {"seed": True}}, "seed", "invalid_value"),
        ({"extra_body": {"num_inference_steps": 201}}, "num_inference_steps", "invalid_value"),
        ({"extra_body": {"num_frames": 4, "fps": 8}, "seconds": "4"}, "seconds", "contradiction"),
        ({"size": "1280x720"}, "size", "unsupported_value"),
        ({"input_reference": b"no picture"}, "input_reference", None),
        ({"input_reference": openai.omit}, "input_reference", "missing_parameter"),
    ],
)
def test_what_is_wrong_is_named(client: OpenAI, given: dict[str, object], param: str, code: str | None) -> None:
    asked = {"prompt": "a star", "input_reference": picture()} | given
    with pytest.raises(openai.BadRequestError) as caught:
        client.videos.create(**asked)  # type: ignore[arg-type]
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")
    assert code in (caught.value.code, None)


def test_errors_have_their_own_classes(client: OpenAI, server: Server) -> None:
    server.hold.set()
    with pytest.raises(openai.NotFoundError) as caught:
        client.videos.create(prompt="a star", model="sora-2", input_reference=picture())
    assert caught.value.param == "model"
    key = {"Idempotency-Key": "mine"}
    video = client.videos.create(prompt="a star", input_reference=picture(), extra_headers=key)
    assert client.videos.create(prompt="a star", input_reference=picture(), extra_headers=key).id == video.id
    with pytest.raises(openai.ConflictError) as clash:  # with the package's retries on: they are told to be of no use
        client.with_options(max_retries=2).videos.create(
            prompt="a square", input_reference=picture(), extra_headers=key
        )
    assert clash.value.response.headers["x-should-retry"] == "false"
    assert clash.value.response.request.headers["x-stainless-retry-count"] == "0"
    with pytest.raises(openai.NotFoundError) as early:
        client.videos.download_content(video.id)
    assert early.value.code == "video_not_ready"
    with pytest.raises(openai.APIStatusError) as large:
        client.videos.create(prompt="a star", input_reference=bytes((server.settings.body_mib << 20) + 1))
    assert large.value.status_code == 413


def test_a_video_that_failed(client: OpenAI, server: Server) -> None:
    server.hold.set()
    video = client.videos.create(prompt="a star", input_reference=picture())
    (server.files / video.id / "picture.png").unlink()
    server.hold.clear()
    video = client.videos.poll(video.id)
    assert video.status == "failed"
    assert video.error is not None
    assert video.error.code == "storage_failed"
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.videos.download_content(video.id)
    assert caught.value.code == "generation_failed"


def test_a_full_queue(tiny: ServedModel, settings: Settings) -> None:
    with serve([tiny], replace(settings, queue=1), with_worker=False) as server:
        client = OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
        client.videos.create(prompt="a star", input_reference=picture())
        with pytest.raises(openai.RateLimitError) as caught:
            client.videos.create(prompt="a star", input_reference=picture())
        assert caught.value.code == "queue_full"
        assert 0 < int(caught.value.response.headers["retry-after"]) <= 120  # beyond two minutes the package gives up
        client.close()


def test_keys(tiny: ServedModel, settings: Settings) -> None:
    keys = ("key of the first", "key of the second")
    asked = replace(settings, key_hashes=tuple(map(key_hash, keys)))
    with serve([tiny], asked, with_worker=False) as server:

        def as_user(key: str) -> OpenAI:
            return OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)

        with as_user(keys[0]) as first, as_user(keys[1]) as second, as_user("another") as stranger:
            video = first.videos.create(prompt="a star", input_reference=picture())
            with pytest.raises(openai.NotFoundError):
                second.videos.retrieve(video.id)
            assert list(second.videos.list()) == []
            with pytest.raises(openai.AuthenticationError) as caught:
                stranger.videos.list()
            assert caught.value.code == "invalid_api_key"


def test_models(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]


def test_the_asynchronous_client(server: Server) -> None:
    async def make() -> list[str]:
        async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            done = await asyncio.gather(
                *(
                    client.videos.create_and_poll(prompt=f"star {number}", input_reference=picture(), extra_body=SOON)
                    for number in range(2)
                )
            )
            await client.videos.delete(done[0].id)
            return [video.id async for video in client.videos.list()][:1] + [video.status for video in done]

    found = asyncio.run(make())
    assert found[1:] == ["completed", "completed"]
    assert found[0].startswith("video_")
