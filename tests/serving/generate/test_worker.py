"""Workers: batches, cancelling, and what becomes of jobs when something fails."""

import errno
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from base.errors import InputError, StorageError
from base.storage.folder import Folder
from diffusion.flow import Flow
from diffusion.options import Sampling, SamplingChanges
from diffusion.sampling import OnStep
from models.card import ModelCard
from models.folder import save_model
from models.generator import Request
from models.patches.backbone import Patches
from models.video_model import DataShapes
from serving.deploy.loading import open_worker
from serving.generate.describe import describe
from serving.generate.files import Files
from serving.generate.models import ServedModel
from serving.generate.worker import Loaded, Worker
from serving.jobs.job import Job, NewJob, Order
from serving.jobs.leftovers import Leftovers
from serving.jobs.store import JobStore
from serving.settings import Compute, Settings
from tests.models.facts import FACTS

ORDER = Order("tiny", "a prompt", 7, 4, 8.0, 64, 32, Sampling(steps=5))


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (32, 64, 3), np.uint8)


@dataclass
class Scripted:
    """A generator that does what a test wants at each step, and then makes grey videos."""

    at_step: Callable[[int], None] = lambda done: None
    batches: list[list[Request]] = field(default_factory=list)

    def generate(self, requests: Sequence[Request], options: Sampling, on_step: OnStep, frames: int) -> np.ndarray:
        self.batches.append(list(requests))
        for done in range(options.steps):
            self.at_step(done)
            on_step(done + 1, options.steps)
        return np.full((len(requests), frames, 32, 64, 3), 128, np.uint8)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(folder=str(tmp_path / "served"))


def scripted_worker(settings: Settings, generator: Any) -> Worker:
    folder = Folder(settings.folder)
    folder.path.mkdir(parents=True)
    store = JobStore(settings.database_url)
    store.upkeep.start_run("test", alone=True)
    return Worker(store, Files(folder), lambda name: Loaded(generator, f"revision of {name}"))


def add(worker: Worker, order: Order = ORDER) -> str:
    new = NewJob("", order, "fingerprint")
    worker.files.keep_picture(new.id, picture())
    worker.store.add(new, 100)
    return new.id


def job(worker: Worker, video_id: str) -> Job:
    found = worker.store.get("", video_id)
    assert found is not None
    return found


def failure(worker: Worker, video_id: str) -> str | None:
    error = job(worker, video_id).error
    return error[0] if error else None


@pytest.fixture
def real(tiny: ServedModel, settings: Settings) -> Iterator[Worker]:
    worker = open_worker(settings, [tiny], Compute(device="cpu"))
    worker.store.upkeep.start_run("test", alone=True)
    with worker:
        yield worker


def test_jobs_of_a_shape_become_videos_together(real: Worker) -> None:
    real.batch = 3
    ids = [add(real, replace(ORDER, seed=seed)) for seed in (1, 2, 1)]
    odd = add(real, replace(ORDER, frames=2))
    assert [real.work(), real.work(), real.work()] == [3, 1, 0]
    assert {job(real, video_id).status for video_id in [*ids, odd]} == {"completed"}
    videos = [real.files.read(video_id, "video") for video_id in ids]
    assert videos[0] != videos[1]
    assert job(real, ids[0]).progress == 100


def test_a_model_of_another_backbone_and_process_is_served(settings: Settings, tmp_path: Path) -> None:
    network = Patches(width=16, depth=1, heads=1).new(DataShapes((4, 4, 8, 8), (5, 16)))
    save_model(tmp_path / "m", network, ModelCard(replace(FACTS, frames=4, schedule=Flow())))
    model = describe("m", str(tmp_path / "m"), SamplingChanges(steps=3))
    assert model.spacings == ("trailing",)
    worker = open_worker(settings, [model], Compute(device="cpu"))
    worker.store.upkeep.start_run("test", alone=True)
    with worker:
        made = add(worker, replace(ORDER, model="m", sampling=model.defaults))
        assert worker.work() == 1
        assert job(worker, made).status == "completed"


def test_jobs_of_text_alone_need_no_picture(words: ServedModel, settings: Settings) -> None:
    worker = open_worker(settings, [words], Compute(device="cpu"))
    worker.store.upkeep.start_run("test", alone=True)
    order = replace(ORDER, model="words", sampling=words.defaults, image=False)
    new = [NewJob("", replace(order, seed=seed), "fingerprint") for seed in (1, 2, 1)]
    for one in new:
        worker.store.add(one, 100)
    with worker:
        worker.batch = 3
        assert worker.work() == 3
    assert {job(worker, one.id).status for one in new} == {"completed"}
    videos = [worker.files.read(one.id, "video") for one in new]
    assert videos[0] == videos[2] != videos[1]


def test_a_queued_job_fails_where_its_name_is_now_a_model_of_the_other_kind(
    tiny: ServedModel, words: ServedModel, settings: Settings
) -> None:
    """As after a restart with another model: it ends, and so does the worker's batch."""
    worker = open_worker(settings, [replace(words, id="tiny"), replace(tiny, id="words")], Compute(device="cpu"))
    worker.store.upkeep.start_run("test", alone=True)
    made = add(worker)
    new = NewJob("", replace(ORDER, model="words", image=False), "fingerprint")
    worker.store.add(new, 100)
    with worker:
        assert [worker.work() for _ in range(3)] == [1, 1, 0]
    assert {failure(worker, video_id) for video_id in (made, new.id)} == {"generation_failed"}


def test_a_seed_gives_the_same_video_in_any_batch(real: Worker) -> None:
    alone = add(real)
    real.work()
    real.batch = 4
    together = [add(real, replace(ORDER, seed=seed, prompt=f"prompt {seed}")) for seed in (1, 2, 3)] + [add(real)]
    assert real.work() == 4
    assert real.files.read(together[-1], "video") == real.files.read(alone, "video")


def test_files_of_a_video(real: Worker, tmp_path: Path) -> None:
    video_id = add(real)
    real.work()
    (tmp_path / "a.mp4").write_bytes(real.files.read(video_id, "video"))
    with av.open(tmp_path / "a.mp4") as container:
        frames = list(container.decode(video=0))
        told = container.metadata
        assert container.streams.video[0].average_rate == 8
    assert [(frame.width, frame.height) for frame in frames] == [(64, 32)] * 4
    expected = {"software": "motif", "model": "tiny", "prompt": "a prompt", "negative_prompt": "", "seed": "7"}
    expected |= {"fps": "8", "steps": "5", "guidance": "7.5", "guidance_rescale": "0.0", "eta": "0.0"}
    assert {name: told[name] for name in expected} == expected
    assert len(told["revision"]) == 12
    assert real.files.read(video_id, "thumbnail")[8:12] == b"WEBP"
    assert real.files.read(video_id, "spritesheet")[:2] == b"\xff\xd8"
    real.files.remove(video_id)
    assert real.files.folder.folders() == []


def test_cancel_takes_effect_at_the_next_step(settings: Settings) -> None:
    steps: list[int] = []

    def delete_at_the_third(done: int) -> None:
        steps.append(done)
        if done == 2:
            worker.store.delete("", video_id)
            worker.files.remove(video_id)

    with scripted_worker(settings, Scripted(delete_at_the_third)) as worker:
        video_id = add(worker, replace(ORDER, sampling=Sampling(steps=50)))
        assert worker.work() == 1
        assert steps == [0, 1, 2]
        assert worker.files.folder.folders() == []
        assert worker.work() == 0


def test_of_a_batch_the_others_go_on(settings: Settings) -> None:
    def delete_one(done: int) -> None:
        if done == 2:
            worker.store.delete("", ids[1])

    with scripted_worker(settings, Scripted(delete_one)) as worker:
        ids = [add(worker), add(worker), add(worker)]
        worker.work()
        assert [job(worker, ids[0]).status, job(worker, ids[2]).status] == ["completed", "completed"]
        assert Leftovers(worker.store.engine).ids() == [ids[1]]  # which the next sweep of the server removes


def test_out_of_memory_goes_on_one_by_one(settings: Settings) -> None:
    @dataclass
    class Small(Scripted):
        def generate(self, requests: Sequence[Request], *rest: Any, **more: Any) -> np.ndarray:
            if len(requests) > 1 or requests[0].prompt == "too much":
                raise torch.OutOfMemoryError
            return super().generate(requests, *rest, **more)

    with scripted_worker(settings, Small()) as worker:
        ids = [add(worker), add(worker, replace(ORDER, prompt="too much")), add(worker)]
        worker.work()
        assert [failure(worker, video_id) for video_id in ids] == [None, "out_of_memory", None]


def test_the_memory_of_a_batch_that_was_too_large_is_free_again(settings: Settings) -> None:
    freed: list[bool] = []

    @dataclass
    class Small(Scripted):
        def generate(self, requests: Sequence[Request], *rest: Any, **more: Any) -> np.ndarray:
            if len(requests) > 1:
                activations = torch.zeros(8)
                held.append(weakref.ref(activations))
                raise torch.OutOfMemoryError
            freed.append(held[0]() is None)
            return super().generate(requests, *rest, **more)

    held: list[weakref.ref[torch.Tensor]] = []
    with scripted_worker(settings, Small()) as worker:
        ids = [add(worker), add(worker)]
        worker.work()
        assert freed == [True, True]
        assert [job(worker, video_id).status for video_id in ids] == ["completed", "completed"]


def test_a_broken_device_fails_one_batch_and_leaves_the_rest(settings: Settings) -> None:
    """The first fault tells that the device is broken; those after it are of any kind."""
    faults: list[Exception] = [torch.OutOfMemoryError(), torch.AcceleratorError("illegal"), RuntimeError("cuBLAS")]

    def stumble(done: int) -> None:
        raise faults.pop(0)

    with scripted_worker(settings, Scripted(stumble)) as worker:
        worker.batch = 2
        ids = [add(worker) for _ in range(4)]
        assert worker.work() == 2
        assert worker.broken
        assert [worker.work(), worker.work()] == [0, 0]
        assert [failure(worker, video_id) for video_id in ids[:2]] == ["generation_failed"] * 2
        assert [job(worker, video_id).status for video_id in ids[2:]] == ["queued"] * 2


def refuse_once(monkeypatch: pytest.MonkeyPatch, store: object, name: str, after: bool = False) -> None:
    """A method raises at its first call, ``after``: when it has done its work."""
    method = getattr(store, name)

    def refusing(*args: Any, **more: Any) -> Any:
        monkeypatch.setattr(store, name, method)
        if after:
            method(*args, **more)
        raise ConnectionError

    monkeypatch.setattr(store, name, refusing)


@pytest.mark.parametrize(("refused", "after"), [(["fail"], False), (["complete", "fail"], False), (["claim"], True)])
def test_what_the_store_refused_to_hear_is_failed_with_the_next_batch(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, refused: list[str], after: bool
) -> None:
    def stumble(done: int) -> None:
        if refused == ["fail"]:
            raise ValueError

    generator = Scripted(stumble)
    with scripted_worker(settings, generator) as worker:
        stuck = add(worker)
        for name in refused:
            refuse_once(monkeypatch, worker.store.queue, name, after)
        with pytest.raises(ConnectionError):
            worker.work()
        assert job(worker, stuck).status == "in_progress"
        generator.at_step = lambda done: None
        following = add(worker)
        assert worker.work() == 1
        assert failure(worker, stuck) == "generation_failed"
        assert job(worker, following).status == "completed"


def test_what_the_store_refused_to_hear_is_failed_where_nothing_follows(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the heartbeat, which leaves a batch alone that is at work."""

    def beat(done: int) -> None:
        worker.beat()

    generator = Scripted(beat)
    with scripted_worker(settings, generator) as worker:
        stuck = add(worker)
        refuse_once(monkeypatch, worker.store.queue, "claim", after=True)
        with pytest.raises(ConnectionError):
            worker.work()
        refuse_once(monkeypatch, worker.store.queue, "fail_held")
        with pytest.raises(ConnectionError):
            worker.beat()
        worker.beat()
        assert failure(worker, stuck) == "generation_failed"
        well = add(worker)
        worker.work()
        assert job(worker, well).status == "completed"


def test_a_model_that_is_not_served_here_is_left_to_others(real: Worker) -> None:
    other = add(real, replace(ORDER, model="other"))
    mine = add(real)
    assert [real.work(), real.work()] == [1, 0]
    assert [job(real, video_id).status for video_id in (other, mine)] == ["queued", "completed"]


def test_a_fault_fails_its_batch_alone_and_tells_no_secret(settings: Settings) -> None:
    def stumble(done: int) -> None:
        raise ValueError("/secret/path")

    generator = Scripted(stumble)
    with scripted_worker(settings, generator) as worker:
        video_id = add(worker)
        worker.work()
        assert failure(worker, video_id) == "generation_failed"
        assert "secret" not in str(job(worker, video_id).error)
        assert not worker.broken
        generator.at_step = lambda done: None
        video_id = add(worker)
        worker.work()
        assert job(worker, video_id).status == "completed"


def test_a_disk_that_refuses(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_worker(settings, Scripted()) as worker:
        video_id = add(worker)

        def refuse(*_: Any) -> None:
            raise StorageError("/secret/path: no space left") from OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(worker.files, "keep_video", refuse)
        worker.work()
        assert failure(worker, video_id) == "storage_failed"


def test_a_lost_picture_fails_its_job_alone(settings: Settings) -> None:
    with scripted_worker(settings, Scripted()) as worker:
        ids = [add(worker), add(worker)]
        worker.files.remove(ids[0])
        worker.work()
        assert [failure(worker, video_id) for video_id in ids] == ["storage_failed", None]


def test_models_are_loaded_on_demand_and_make_room(settings: Settings) -> None:
    opened: list[str] = []
    with scripted_worker(settings, Scripted()) as worker:
        load = worker.load

        def noted(name: str) -> Loaded:
            opened.append(name)
            return load(name)

        worker.load = noted
        for model in ("a", "a", "b", "a"):
            add(worker, replace(ORDER, model=model))
            worker.work()
        assert opened == ["a", "b", "a"]
        worker.models = 2
        for model in ("b", "a", "b"):
            add(worker, replace(ORDER, model=model))
            worker.work()
        assert opened == ["a", "b", "a", "b"]


def test_a_worker_that_leaves_hands_nothing_on(settings: Settings) -> None:
    held = threading.Event()
    with scripted_worker(settings, Scripted(lambda done: held.set())) as worker:
        assert worker.store.upkeep.state().workers == 1
    assert worker.store.upkeep.state().workers == 0


def test_a_worker_that_could_not_be(tiny: ServedModel, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="loaded 0: must be at least 1"):
        Compute(loaded=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="device cuda: this machine has no GPU that torch can use"):
        open_worker(settings, [tiny], Compute(device="cuda"))
