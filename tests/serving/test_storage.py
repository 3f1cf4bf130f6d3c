"""A database or a folder that refuses: 503 with a time to come back at, and a sentence where nothing will start."""

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from base.errors import Incomplete, StorageError
from serving.deploy.setup import check_store, open_store, open_videos
from serving.deploy.starting import start_ray
from serving.generate.models import ServedModel
from serving.jobs.job import NewJob
from serving.requests.videos import Videos
from serving.settings import Settings
from tests.serving.calls import ORDER, opened, post, refusal


@pytest.fixture
def videos(tiny: ServedModel, settings: Settings) -> Iterator[Videos]:
    opened = open_videos(settings, [tiny], lambda waiting=None: None)
    opened.store.upkeep.start_run("run", alone=True)
    opened.store.queue.beat("a worker")
    yield opened
    opened.close()


async def check_refusals(videos: Videos) -> None:
    async with opened(videos) as client:
        assert (await client.get("/ready")).status_code == 200
        for answer in (await post(client), await client.get("/ready")):
            assert refusal(answer) == (503, "storage_unavailable", None)
            assert 1 <= int(answer.headers["retry-after"]) <= 60


def test_a_locked_database(videos: Videos, caplog: pytest.LogCaptureFixture) -> None:
    event.listen(videos.store.engine, "checkout", lambda c, *_: c.execute("PRAGMA busy_timeout=50"))
    other = sqlite3.connect(Path(videos.settings.folder) / "jobs.sqlite")
    other.execute("BEGIN IMMEDIATE")
    asyncio.run(check_refusals(videos))
    assert [record.exc_info for record in caplog.records if record.name == "motif.videos"] == [None]
    other.rollback()
    other.close()

    async def again() -> None:
        async with opened(videos) as client:
            assert (await post(client)).status_code == 200

    asyncio.run(again())


def test_a_folder_that_takes_no_file(videos: Videos) -> None:
    """A file lies where the folder of files is to be."""
    (Path(videos.settings.folder) / "files").write_bytes(b"")
    asyncio.run(check_refusals(videos))
    assert videos.store.upkeep.ids() == set()


def test_a_full_disk_is_noticed_without_a_request(videos: Videos, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StorageError, match="disk is full"):
        videos.sweep()


def damaged(settings: Settings) -> Path:
    """A database of 200 jobs, closed."""
    store = open_store(settings)
    for _ in range(200):
        store.add(NewJob("", ORDER, "f"), 999)
    store.close()
    check_store(settings)
    return Path(settings.folder) / "jobs.sqlite"


@pytest.mark.parametrize("how", ["text", "half of it", "a page of zeros"])
def test_a_damaged_database_is_told_before_anything_starts(settings: Settings, how: str) -> None:
    path = damaged(settings)
    whole = path.read_bytes()
    page = slice(8192, 12288)
    path.write_bytes(
        {
            "text": b"a letter to somebody " * 99,
            "half of it": whole[: len(whole) // 2],
            "a page of zeros": whole[: page.start] + bytes(4096) + whole[page.stop :],
        }[how]
    )
    with pytest.raises(StorageError, match=r"^database '.*jobs\.sqlite' .*move its files away") as caught:
        check_store(settings)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4


def test_ray_is_started_once_more_where_it_was_too_slow() -> None:
    asked, undone, told = [], [], []

    def start() -> None:
        asked.append(1)
        if len(asked) == 1:
            raise RuntimeError("The current node timed out during startup. This could happen because ...")

    start_ray(start, lambda: undone.append(1), told.append)
    assert (len(asked), len(undone), told) == (2, 1, ["Ray did not start in time, retrying once"])


@pytest.mark.parametrize(("message", "tries"), [("Failed to connect to GCS within 60 s", 2), ("no such address", 1)])
def test_ray_that_does_not_start(message: str, tries: int) -> None:
    asked = []

    def start() -> None:
        asked.append(1)
        raise ConnectionError(f"{message}\nand more")

    with pytest.raises(Incomplete, match=f"^Ray did not start: {message} Run `motif doctor` for details.$"):
        start_ray(start, lambda: None, lambda line: None)
    assert len(asked) == tries
