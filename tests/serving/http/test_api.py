"""The routes, as serving clients of 2026 expect them."""

import base64
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import httpx2
import numpy as np
import pytest
from PIL import Image

from base.errors import StorageError
from serving.deploy.setup import open_videos
from serving.generate.files import Files
from serving.generate.models import ServedModel
from serving.jobs.job import NewJob
from serving.requests.videos import Caller, Videos
from serving.settings import Settings
from tests.serving.calls import ORDER, create, events, png, refusal
from tests.serving.server import Server, serve

KEYS = {
    "id", "object", "model", "status", "progress", "created_at", "completed_at", "expires_at", "prompt", "size",
    "seconds", "remixed_from_video_id", "error", "seed", "queue_position", "stage", "inference_time_s", "warnings",
}  # fmt: skip


@pytest.fixture
def client(server: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, timeout=60) as opened:
        yield opened


def test_create_follow_download(client: httpx2.Client) -> None:
    video = create(client, seed="5", num_inference_steps="3")
    assert video.keys() >= KEYS
    assert (video["status"], video["seed"], video["size"]) == ("queued", 5, "64x32")
    told = events(client, video["id"])
    assert told[-1][0] == "completed"
    assert {name for name, _ in told[:-1]} <= {"progress"}
    progress = [found["progress"] for _, found in told]
    assert progress == sorted(progress)
    found = client.get(f"/v1/videos/{video['id']}")
    assert found.headers["cache-control"] == "no-store"
    assert found.json() == told[-1][1]
    content = client.get(f"/v1/videos/{video['id']}/content", headers={"accept": "application/binary"})
    assert content.headers["content-type"] == "video/mp4"
    assert content.content[4:8] == b"ftyp"


def test_json_with_a_data_url(client: httpx2.Client) -> None:
    url = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    body = {"prompt": "a", "seconds": 1, "input_reference": {"image_url": url}, "extra_params": {"eta": 0.5}}
    answer = client.post("/v1/videos", json=body)
    assert answer.status_code == 200
    assert answer.json()["seconds"] == "1"


def test_what_other_clients_send(client: httpx2.Client, server: Server) -> None:
    server.hold.set()
    url = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    fields = {"prompt": "a", "user": "somebody", "width": 64, "height": 32, "input_reference": url}
    for how in ({"json": fields}, {"data": fields}):
        answer = client.post("/v1/videos", **how)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["size"]) == (200, "64x32")
        assert "somebody" not in answer.text
    for change, told in (
        ({"height": None}, "height"), ({"width": 128}, "size"), ({"size": "128x64"}, "size"), ({"width": 0}, "width"),
    ):  # fmt: skip
        answer = client.post("/v1/videos", json=fields | change)
        assert refusal(answer)[::2] == (400, told)
    key = {"idempotency-key": "k"}
    same = [client.post("/v1/videos", json=fields | {"user": user}, headers=key).json()["id"] for user in "ab"]
    assert same[0] == same[1]


@pytest.mark.parametrize("name", ["edits", "extensions", "characters", "characters/char_1", "edits/a/b"])
def test_endpoints_that_are_not_supported(client: httpx2.Client, name: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert refusal(client.request(method, f"/v1/videos/{name}"))[:2] == (404, "unsupported_endpoint")
    assert "/edits" not in client.get("/openapi.json").text


def test_bracketed_fields(client: httpx2.Client) -> None:
    assert create(client, **{"extra_params[eta]": "0.5"})["status"] == "queued"
    assert create(client, extra_params='{"eta": 0.5}')["status"] == "queued"
    files = {"input_reference": ("a.png", png(), "image/png")}
    answer = client.post("/v1/videos", data={"prompt": "a", "extra_params[ets]": "1"}, files=files)
    assert refusal(answer) == (400, "unknown_parameter", "extra_params.ets")


def test_variants_ranges_and_etags(client: httpx2.Client) -> None:
    video = create(client)
    events(client, video["id"])
    path = f"/v1/videos/{video['id']}/content"
    whole = client.get(path)
    part = client.get(path, headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    assert client.get(path, headers={"range": "bytes=-5"}).content == whole.content[-5:]
    assert refusal(client.get(path, headers={"range": "bytes=9999999-"}))[:2] == (416, "range_not_satisfiable")
    assert client.get(path, headers={"if-none-match": whole.headers["etag"]}).status_code == 304
    head = client.head(path)
    assert (head.content, head.headers["content-length"]) == (b"", str(len(whole.content)))
    for variant, kind in (("thumbnail", "image/webp"), ("spritesheet", "image/jpeg")):
        answer = client.get(path, params={"variant": variant})
        assert answer.headers["content-type"] == kind
        assert Image.open(io.BytesIO(answer.content)).format == kind[6:].upper()
    assert refusal(client.get(path, params={"variant": "other"})) == (400, "invalid_value", "variant")


def test_what_is_not_ready_and_what_failed(server: Server, client: httpx2.Client) -> None:
    server.hold.set()
    video = create(client)
    path = f"/v1/videos/{video['id']}"
    assert refusal(client.get(f"{path}/content"))[:2] == (404, "video_not_ready")
    assert int(client.get(path).headers["openai-poll-after-ms"]) > 0
    server.store.queue.claim(server.worker.name, 1)
    server.store.queue.fail(server.worker.name, [video["id"]], "out_of_memory", "Too large.")
    found = client.get(path)
    assert (found.status_code, found.json()["status"]) == (200, "failed")
    assert found.json()["error"] == {"code": "out_of_memory", "message": "Too large."}
    assert refusal(client.get(f"{path}/content"))[:2] == (422, "generation_failed")


def test_delete_cancels_and_leaves_nothing(server: Server, client: httpx2.Client) -> None:
    video = create(client, num_inference_steps="200")
    answer = client.delete(f"/v1/videos/{video['id']}")
    assert answer.json() == {"id": video["id"], "object": "video.deleted", "deleted": True}
    assert refusal(client.get(f"/v1/videos/{video['id']}"))[:2] == (404, "video_not_found")
    assert refusal(client.delete(f"/v1/videos/{video['id']}"))[:2] == (404, "video_not_found")
    after = create(client, num_inference_steps="1")
    assert events(client, after["id"])[-1][0] == "completed"
    assert [path.name for path in server.files.iterdir()] == [after["id"]]


def test_events_of_a_video_that_is_deleted(client: httpx2.Client, server: Server) -> None:
    server.hold.set()
    video = create(client)
    with client.stream("GET", f"/v1/videos/{video['id']}/events") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: progress"
        with httpx2.Client(base_url=server.url) as other:
            other.delete(f"/v1/videos/{video['id']}")
        assert "event: deleted" in list(lines)


def test_remix_keeps_picture_and_seed(client: httpx2.Client, server: Server) -> None:
    video = create(client, seed="9", num_inference_steps="2")
    answer = client.post(f"/v1/videos/{video['id']}/remix", json={"prompt": "b"})
    other = answer.json()
    assert (other["seed"], other["prompt"], other["remixed_from_video_id"]) == (9, "b", video["id"])
    assert other["num_inference_steps"] == 2
    pictures = [(server.files / found / "picture.png").read_bytes() for found in (video["id"], other["id"])]
    assert pictures[0] == pictures[1]
    assert refusal(client.post("/v1/videos/video_0/remix", json={"prompt": "b"}))[0] == 404
    answer = client.post(f"/v1/videos/{video['id']}/remix", json={"prompt": "b", "seed": 1})
    assert refusal(answer) == (400, "unknown_parameter", "seed")


def test_list(client: httpx2.Client) -> None:
    ids = [create(client, num_inference_steps="1")["id"] for _ in range(3)]
    page = client.get("/v1/videos", params={"limit": 2}).json()
    assert page["object"] == "list"
    assert [found["id"] for found in page["data"]] == [ids[2], ids[1]]
    assert (page["first_id"], page["last_id"], page["has_more"]) == (ids[2], ids[1], True)
    rest = client.get("/v1/videos", params={"after": ids[1]}).json()
    assert ([found["id"] for found in rest["data"]], rest["has_more"]) == ([ids[0]], False)
    assert client.get("/v1/videos", params={"order": "asc", "limit": 1}).json()["first_id"] == ids[0]
    assert refusal(client.get("/v1/videos", params={"limit": 101})) == (400, "invalid_value", "limit")
    assert refusal(client.get("/v1/videos", params={"after": "x"})) == (400, "invalid_value", "after")


def test_a_full_queue(server: Server, client: httpx2.Client) -> None:
    server.hold.set()
    for _ in range(server.settings.queue):
        create(client)
    files = {"input_reference": ("a.png", png(), "image/png")}
    answer = client.post("/v1/videos", data={"prompt": "a"}, files=files)
    assert refusal(answer)[:2] == (429, "queue_full")
    assert int(answer.headers["retry-after"]) >= 1
    assert str(server.settings.queue) in answer.json()["error"]["message"]
    assert len(list(server.files.iterdir())) == server.settings.queue


def test_idempotency(client: httpx2.Client, server: Server) -> None:
    def ask(**fields: str) -> httpx2.Response:
        files = {"input_reference": ("a.png", png(), "image/png")}
        headers = {"idempotency-key": "k1"}
        return client.post("/v1/videos", data={"prompt": "a", **fields}, files=files, headers=headers)

    first = ask().json()["id"]
    assert ask().json()["id"] == first
    other = ask(prompt="b")
    assert refusal(other)[:2] == (409, "idempotency_key_reused")
    assert other.headers["x-should-retry"] == "false"
    assert len(list(server.files.iterdir())) == 1


def test_sync(client: httpx2.Client) -> None:
    files = {"input_reference": ("a.png", png(), "image/png")}
    answer = client.post("/v1/videos/sync", data={"prompt": "a", "seed": "3"}, files=files)
    assert answer.content[4:8] == b"ftyp"
    assert (answer.headers["x-model"], answer.headers["x-seed"]) == ("tiny", "3")
    assert float(answer.headers["x-inference-time-s"]) > 0


def test_sync_that_takes_too_long(tiny: ServedModel, settings: Settings) -> None:
    with serve([tiny], replace(settings, sync_seconds=0.3)) as server:
        server.hold.set()
        files = {"input_reference": ("a.png", png(), "image/png")}
        answer = httpx2.post(f"{server.url}/v1/videos/sync", data={"prompt": "a"}, files=files, timeout=30)
        assert refusal(answer)[:2] == (504, "timeout")
        assert server.store.upkeep.ids() == set()
        assert list(server.files.iterdir()) == []


@pytest.mark.parametrize("name", ["模型", "org/tiny", 'a "b"\r\nset-cookie: c'])
def test_sync_with_a_model_of_any_name(tiny: ServedModel, settings: Settings, name: str) -> None:
    with serve([replace(tiny, id=name)], settings) as server:
        files = {"input_reference": ("a.png", png(), "image/png")}
        answer = httpx2.post(f"{server.url}/v1/videos/sync", data={"prompt": "a"}, files=files, timeout=60)
        assert (answer.status_code, answer.headers["x-model"]) == (200, quote(name))
        assert "set-cookie" not in answer.headers


def test_models_health_and_metrics(client: httpx2.Client) -> None:
    (model,) = client.get("/v1/models").json()["data"]
    assert model["id"] == "tiny"
    assert model["capabilities"]["sizes"] == ["64x32"]
    assert model["capabilities"]["default"]["num_inference_steps"] == 5
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json()["workers"] == 1
    assert 'motif_jobs{status="queued"}' in client.get("/metrics").text


def test_several_models_by_name(tiny: ServedModel, settings: Settings) -> None:
    other = replace(tiny, id="other")
    with serve([tiny, other], settings) as server, httpx2.Client(base_url=server.url, timeout=60) as client:
        for name in ("other", "tiny", "other"):
            video = create(client, model=name, num_inference_steps="1")
            assert events(client, video["id"])[-1][1]["model"] == name
        files = {"input_reference": ("a.png", png(), "image/png")}
        answer = client.post("/v1/videos", data={"prompt": "a", "model": "sora-2"}, files=files)
        assert refusal(answer) == (404, "model_not_found", "model")
        assert "tiny, other" in answer.json()["error"]["message"]


def test_not_ready_without_a_worker(tiny: ServedModel, settings: Settings) -> None:
    with serve([tiny], settings, with_worker=False) as server:
        answer = httpx2.get(f"{server.url}/ready")
        assert refusal(answer)[:2] == (503, "not_ready")
        assert "retry-after" in answer.headers


def test_draining(server: Server, client: httpx2.Client) -> None:
    server.store.upkeep.drain()
    files = {"input_reference": ("a.png", png(), "image/png")}
    answer = client.post("/v1/videos", data={"prompt": "a"}, files=files)
    assert refusal(answer)[:2] == (503, "shutting_down")
    assert "retry-after" in answer.headers
    assert refusal(client.get("/ready"))[0] == 503


def test_a_restart_keeps_what_is_finished(tiny: ServedModel, settings: Settings) -> None:
    with serve([tiny], settings) as server, httpx2.Client(base_url=server.url, timeout=60) as client:
        done = create(client, num_inference_steps="1")["id"]
        events(client, done)
        server.hold.set()
        running = create(client)["id"]
        server.store.queue.claim(server.worker.name, 1)
    with serve([tiny], settings) as server, httpx2.Client(base_url=server.url, timeout=60) as client:
        assert client.get(f"/v1/videos/{done}/content").content[4:8] == b"ftyp"
        assert client.get(f"/v1/videos/{running}").json()["error"]["code"] == "server_restarted"


def test_videos_in_an_object_store(tiny: ServedModel, bucket: str, tmp_path: Path) -> None:
    settings = Settings(folder=f"{bucket}/served", database=f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    with serve([tiny], settings) as server, httpx2.Client(base_url=server.url, timeout=60) as client:
        video = create(client, num_inference_steps="1")
        assert events(client, video["id"])[-1][0] == "completed"
        assert client.get(f"/v1/videos/{video['id']}/content").content[4:8] == b"ftyp"
        client.delete(f"/v1/videos/{video['id']}")
        assert server.worker.files.folder.folders() == []


@pytest.fixture
def woken() -> list[int | None]:
    return []


@pytest.fixture
def videos(tiny: ServedModel, settings: Settings, woken: list[int | None]) -> Iterator[Videos]:
    """What the routes work on, without them."""

    def wake(waiting: int | None = None) -> None:
        woken.append(waiting)

    opened = open_videos(settings, [tiny], wake)
    opened.store.upkeep.start_run("run", alone=True)
    yield opened
    opened.close()


def queued(videos: Videos) -> str:
    """A job that waits, with a picture."""
    new = NewJob("", ORDER, "fingerprint")
    videos.files.keep_picture(new.id, np.zeros((32, 64, 3), np.uint8))
    videos.store.add(new, 99)
    return new.id


def finished(videos: Videos, seconds: float = 1.0) -> str:
    video_id = queued(videos)
    videos.store.queue.beat("a")
    (job,) = videos.store.queue.claim("a", 1)
    videos.store.queue.complete("a", job, seconds)
    return video_id


class Refusing(Files):
    """Files in a storage that does not remove some of them."""

    def __init__(self, files: Files) -> None:
        super().__init__(files.root, files.sign)
        self.folder, self.kept, self.asked = files.folder, set[str](), list[str]()

    def remove(self, video_id: str) -> None:
        self.asked.append(video_id)
        if video_id in self.kept:
            raise StorageError("the object store does not answer")
        super().remove(video_id)


def test_a_sweep_of_a_storage_that_refuses(
    videos: Videos, woken: list[int | None], caplog: pytest.LogCaptureFixture
) -> None:
    videos.files = storage = Refusing(videos.files)
    videos.store.ending.keep_s = -1.0
    gone = [finished(videos) for _ in range(6)]
    videos.store.ending.keep_s = 100.0
    storage.kept = set(gone[:2])
    waiting = {queued(videos), queued(videos)}
    videos.sweep()
    assert videos.store.upkeep.ids() == waiting
    assert set(storage.folder.folders()) == storage.kept | waiting
    assert woken == [2]
    videos.sweep()
    assert len([record for record in caplog.records if "could not be removed yet" in record.message]) == 2
    storage.kept = set()
    videos.sweep()
    assert set(storage.folder.folders()) == waiting
    asked = len(storage.asked)
    videos.sweep()
    assert len(storage.asked) == asked


def test_a_storage_that_refuses_everything_is_not_asked_on_and_on(videos: Videos) -> None:
    """The next sweep begins with those that this one did not come to."""
    videos.files = storage = Refusing(videos.files)
    videos.store.ending.keep_s = -1.0
    gone = {finished(videos) for _ in range(6)}
    storage.kept = set(gone)
    videos.sweep()
    assert len(storage.asked) == 3
    videos.sweep()
    assert set(storage.asked) == gone


def test_delete_from_a_storage_that_refuses(videos: Videos) -> None:
    videos.files = storage = Refusing(videos.files)
    video_id = finished(videos)
    storage.kept = {video_id}
    assert videos.delete(Caller(""), video_id)["deleted"]
    assert storage.folder.folders() == [video_id]
    storage.kept = set()
    another = Videos(videos.settings, videos.models, videos.store, storage, videos.wake)  # as after a restart
    another.sweep()
    assert storage.folder.folders() == []


def test_an_empty_queue_wakes_nobody(videos: Videos, woken: list[int | None]) -> None:
    finished(videos)
    videos.sweep()
    assert woken == []


def test_what_is_no_job_is_not_removed(videos: Videos) -> None:
    """Whoever names a folder of their own finds in it what was there."""
    known, unknown = queued(videos), f"video_{'0' * 32}"
    names = ["holiday", "video_1", f"video_{'0' * 31}g", f"video_{'0' * 33}", f"a_video_{'0' * 32}", known]
    for name in [*names, unknown]:
        (videos.files.folder / name).write("a.jpg", b"a")
    videos.files.remove_all_but({known})
    assert videos.files.folder.folders() == sorted(names)


def test_how_long_to_wait_for_a_place(videos: Videos) -> None:
    """One batch's time shared by the workers, however many wait."""
    assert videos.retry_after() == 5  # nothing is known yet
    finished(videos, 90.0)
    found = []
    for worker in "abcd":
        videos.store.queue.beat(worker)
        found.append(videos.retry_after())
        queued(videos)
    assert found == [90, 45, 30, 23]
    finished(videos, 0.2)
    finished(videos, 1000.0)
    for worker in "bcd":
        videos.store.queue.leave(worker)
    assert videos.retry_after() == 120
    videos.store.queue.leave("a")
    assert videos.retry_after() == 120
