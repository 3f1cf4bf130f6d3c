"""Callers who go, ask twice, or send more than is decoded at a time: none of them is at the cost of the others."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import anyio.to_thread
import httpx2
import pytest

from serving.deploy.setup import open_videos
from serving.generate.models import ServedModel
from serving.jobs.job import Job
from serving.requests.videos import Videos
from serving.settings import Settings
from tests.serving.calls import PATIENCE_S, opened, png, post, refusal
from tests.serving.server import serve


@pytest.fixture
def videos(tiny: ServedModel, settings: Settings) -> Iterator[Videos]:
    """No worker is there."""
    opened = open_videos(settings, [tiny], lambda waiting=None: None)
    opened.store.upkeep.start_run("run", alone=True)
    yield opened
    opened.close()


def kept(videos: Videos) -> list[str]:
    return videos.files.folder.folders()


class Turn:
    """Stands for the decoding of a picture: tells when one comes to it, and lets it on later."""

    def __init__(self, turns: threading.Semaphore) -> None:
        self.come, self.go, self.turns = threading.Semaphore(0), threading.Event(), turns

    def acquire(self, timeout: float) -> bool:
        self.come.release()
        return self.go.wait(PATIENCE_S) and self.turns.acquire(timeout=PATIENCE_S)

    def release(self) -> None:
        self.turns.release()


async def happens(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, PATIENCE_S)


@pytest.mark.parametrize("key", [None, "a key"])
def test_those_who_go_while_their_job_is_made(videos: Videos, monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    begun, go, made, add = threading.Event(), threading.Event(), threading.Event(), videos.store.add

    def slow(*told: Any) -> tuple[Job, bool]:
        begun.set()
        assert go.wait(PATIENCE_S)
        try:
            return add(*told)
        finally:
            made.set()

    monkeypatch.setattr(videos.store, "add", slow)

    async def run() -> None:
        async with opened(videos) as client:
            asking = asyncio.create_task(post(client, "/v1/videos/sync", key))
            await happens(begun)
            asking.cancel()
            go.set()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await happens(made)

    asyncio.run(run())
    assert len(videos.store.upkeep.ids()) == (0 if key is None else 1)
    assert set(kept(videos)) == videos.store.upkeep.ids()


def test_those_who_go_before_their_job_is_begun(videos: Videos) -> None:
    """Nobody decodes their pictures."""
    turn = Turn(videos.decoder.turns)
    videos.decoder.turns = turn  # type: ignore[assignment]

    async def run() -> None:
        async with asyncio.timeout(PATIENCE_S), opened(videos) as client:
            asking = {asyncio.create_task(post(client, "/v1/videos/sync")) for _ in range(40)}
            for _ in range(16):
                assert await asyncio.to_thread(turn.come.acquire, timeout=PATIENCE_S)
            for task in asking:
                task.cancel()
            while len(asking) > 16:
                _, asking = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            turn.go.set()
            await asyncio.wait(asking)

    asyncio.run(run())
    assert not turn.come.acquire(blocking=False)
    assert videos.store.upkeep.ids() == set()
    assert kept(videos) == []


def test_those_who_go_twice(videos: Videos, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their job is deleted whatever becomes of their task, and the event loop does not wait for it."""
    added, begun, go, deleted, add, delete = *(threading.Event() for _ in range(4)), videos.store.add, videos.delete
    threads = set()

    def noted(*told: Any) -> tuple[Job, bool]:
        done = add(*told)
        added.set()
        return done

    def slow(*told: Any) -> dict[str, Any]:
        threads.add(threading.current_thread())
        begun.set()
        assert go.wait(PATIENCE_S)
        try:
            return delete(*told)
        finally:
            deleted.set()

    monkeypatch.setattr(videos.store, "add", noted)
    monkeypatch.setattr(videos, "delete", slow)

    async def run() -> None:
        async with opened(videos) as client:
            asking = asyncio.create_task(post(client, "/v1/videos/sync"))
            await happens(added)
            asking.cancel()
            await happens(begun)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            go.set()
            await happens(deleted)

    asyncio.run(run())
    assert threading.main_thread() not in threads
    assert videos.store.upkeep.ids() == set()
    assert kept(videos) == []


def test_what_others_wait_for_stays(tiny: ServedModel, settings: Settings) -> None:
    """A second caller with the same key waits too long: the first one's video is not lost."""
    with serve([tiny], replace(settings, sync_seconds=0.3), with_worker=False) as server:

        def ask(path: str, key: str) -> httpx2.Response:
            files = {"input_reference": ("a.png", png(), "image/png")}
            headers = {"idempotency-key": key}
            return httpx2.post(f"{server.url}{path}", data={"prompt": "a"}, files=files, headers=headers, timeout=30)

        first = ask("/v1/videos", "k1").json()["id"]
        assert refusal(ask("/v1/videos/sync", "k1"))[:2] == (504, "timeout")
        assert httpx2.get(f"{server.url}/v1/videos/{first}").json()["status"] == "queued"
        assert refusal(ask("/v1/videos/sync", "k2"))[:2] == (504, "timeout")
        retried = ask("/v1/videos", "k2").json()["id"]
        assert server.store.upkeep.ids() == {first, retried}


def test_uploads_that_wait_for_their_turn_keep_no_thread(videos: Videos) -> None:
    """The routes share one thread here: with forty, it takes forty uploads."""
    turn = Turn(videos.decoder.turns)
    videos.decoder.turns = turn  # type: ignore[assignment]

    async def run() -> None:
        limiter = anyio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = 1
        async with asyncio.timeout(PATIENCE_S), opened(videos) as client:
            asking = asyncio.create_task(post(client))
            assert await asyncio.to_thread(turn.come.acquire, timeout=PATIENCE_S)
            try:
                for path in ("/v1/models", "/v1/videos", "/metrics"):
                    async with asyncio.timeout(PATIENCE_S / 4):
                        assert (await client.get(path)).status_code == 200
            finally:
                turn.go.set()
            assert (await asking).status_code == 200

    asyncio.run(run())


def test_health_needs_no_thread(videos: Videos) -> None:
    async def run() -> None:
        limiter = anyio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = 1
        limiter.acquire_on_behalf_of_nowait("somebody busy")
        async with asyncio.timeout(PATIENCE_S / 4), opened(videos) as client:
            assert (await client.get("/health")).json() == {"status": "ok"}

    asyncio.run(run())


def test_a_full_queue_decodes_nothing(videos: Videos) -> None:
    videos.settings = replace(videos.settings, queue=1)

    async def run() -> str:
        async with opened(videos) as client:
            assert (await post(client, key="k")).status_code == 200
            full = await post(client, picture=b"no picture at all")
            assert refusal(full)[:2] == (429, "queue_full")
            assert 1 <= int(full.headers["retry-after"]) <= 120
            assert (await post(client, key="k")).status_code == 200
            return (await client.get("/metrics")).text

    assert 'motif_requests_refused_total{code="queue_full"} 1.0' in asyncio.run(run())


def test_a_queue_that_fills_up_meanwhile(videos: Videos) -> None:
    """Who waited for a turn is refused before the picture is decoded, or finds what the same key has made."""
    videos.settings = replace(videos.settings, queue=1)
    turn = Turn(videos.decoder.turns)

    async def run() -> list[httpx2.Response]:
        async with opened(videos) as client:
            turns, videos.decoder.turns = videos.decoder.turns, turn  # type: ignore[assignment]
            asking = [asyncio.create_task(post(client, key="k"))]
            asking.append(asyncio.create_task(post(client, picture=b"no picture at all")))
            for _ in asking:
                assert await asyncio.to_thread(turn.come.acquire, timeout=PATIENCE_S)
            videos.decoder.turns = turns
            first = await post(client, key="k")
            turn.go.set()
            return [first, *await asyncio.gather(*asking)]

    first, same, other = asyncio.run(run())
    assert same.json()["id"] == first.json()["id"]
    assert refusal(other)[:2] == (429, "queue_full")
    assert set(kept(videos)) == {first.json()["id"]}


def test_many_at_once_all_get_an_answer(tiny: ServedModel, settings: Settings) -> None:
    with serve([tiny], settings, with_worker=False) as server:
        files = {"input_reference": ("a.png", png(width=1000, height=1000), "image/png")}

        def ask(_: int) -> int:
            path = f"{server.url}/v1/videos"
            return int(httpx2.post(path, data={"prompt": "a"}, files=files, timeout=60).status_code)

        with ThreadPoolExecutor(40) as pool:
            answers = sorted(pool.map(ask, range(40)))
        assert answers == [200] * settings.queue + [429] * (40 - settings.queue)
        assert {path.name for path in server.files.iterdir()} == server.store.upkeep.ids()
