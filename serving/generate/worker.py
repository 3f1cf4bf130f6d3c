"""A worker: claims waiting jobs of one shape, generates their videos, and checks at each step which were deleted."""

import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8

from base.errors import StorageError
from diffusion.options import Sampling
from diffusion.sampling import OnStep
from models.generator import Request
from models.tags import model_tags, request_tags
from serving.generate.files import Files
from serving.jobs.ending import FAILED
from serving.jobs.job import Job
from serving.jobs.queue import ALIVE_S
from serving.jobs.store import JobStore
from serving.video_api import Stage

log = logging.getLogger("motif.worker")
Load = Callable[[str], "Loaded"]
_SAMPLED = 95  # percent after the last sampling step; the rest is decoding and writing

_MEMORY = ("out_of_memory", "The video could not be generated: the device has too little memory, even for one video.")
_STORAGE = ("storage_failed", "The video could not be stored: the server's storage failed. Request it again later.")


@runtime_checkable
class Generates(Protocol):
    """The model interface that a worker uses; :class:`models.generator.Generator` implements it."""

    def generate(
        self, requests: Sequence[Request], options: Sampling, on_step: OnStep, frames: int
    ) -> UInt8[np.ndarray, "b t h w 3"]:
        """Generate videos for the requests; an exception of ``on_step`` ends it."""


@dataclass(frozen=True)
class Loaded:
    """A loaded model and the revision of its weights."""

    generator: Generates
    revision: str


class _Cancelled(Exception):  # noqa: N818 - not an error, like StopIteration
    """All jobs of the batch were deleted."""


class Worker:
    """Generates the videos of a job store; ``load`` loads a model by name, up to ``models`` stay loaded.

    ``served`` are the names that ``load`` knows: jobs of other models are left to other workers. None means all models.
    A context manager: while it is open, a thread sends heartbeats to the store.
    """

    def __init__(
        self,
        store: JobStore,
        files: Files,
        load: Load,
        batch: int = 4,
        models: int = 1,
        served: Collection[str] | None = None,
    ) -> None:
        self.store, self.files, self.load = store, files, load
        self.batch, self.models, self.served = batch, models, served
        self.name = uuid.uuid4().hex
        self.broken = False  # the device is unusable for the rest of this process
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()
        self._busy = threading.Lock()  # held during a batch
        self._left = False  # whether the store may list a job under this name that no batch processes
        self._closed = threading.Event()
        self._heart = threading.Thread(target=self._keep_beating, name="heartbeat", daemon=True)

    def __enter__(self) -> "Worker":
        self.store.queue.beat(self.name)
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._heart.join()
        self.store.queue.leave(self.name)

    def _keep_beating(self) -> None:
        while not self._closed.wait(ALIVE_S / 5):
            try:
                self.beat()
            except Exception:
                log.exception("the job store cannot be reached")

    def beat(self) -> None:
        """Send a heartbeat to the store; between batches, also fail jobs that the last batch could not report."""
        self.store.queue.beat(self.name)
        if self._left and self._busy.acquire(blocking=False):
            try:
                self.store.queue.fail_held(self.name)
                self._left = False
            finally:
                self._busy.release()

    def open(self, model: str) -> Loaded:
        """A model, loaded if necessary; the least recently used one is dropped to make room."""
        if model not in self._loaded:
            while len(self._loaded) >= self.models:
                self._loaded.popitem(last=False)
            self._loaded[model] = self.load(model)
        self._loaded.move_to_end(model)
        return self._loaded[model]

    def work(self) -> int:
        """Claim and finish a batch; returns its number of jobs, 0 if none waits.

        With a broken device nothing is claimed: jobs would fail, and instead wait for another process.
        """
        with self._busy:
            if self.broken:
                return 0
            self._left = True  # stays True if the store raises
            claimed = self.store.queue.claim(self.name, self.batch, self._loaded, served=self.served)
            if claimed:
                self._finish(claimed)
            self._left = False
        return len(claimed)

    def _finish(self, jobs: Sequence[Job], again: bool = False) -> None:
        """Process a batch; unless the store fails, each job is completed, failed or deleted afterwards.

        ``again``: the batch as a whole ran out of memory.
        """
        ids = [job.id for job in jobs]
        too_large = False
        try:
            if again:
                torch.cuda.empty_cache()
            self._generate(jobs)
        except _Cancelled:
            log.info("cancelled: %s", ", ".join(ids))
        except torch.OutOfMemoryError:
            too_large = True  # handled below: inside this block the traceback keeps the batch's memory alive
        except StorageError:
            log.exception("storage is unavailable")
            self.store.queue.fail(self.name, ids, *_STORAGE)
        except Exception as error:
            log.exception("generation failed")
            self.broken |= isinstance(error, torch.AcceleratorError)
            self.store.queue.fail(self.name, ids, *FAILED)
        if too_large and len(jobs) > 1:
            log.warning("out of memory with a batch of %d videos: retrying one by one", len(jobs))
            for job in jobs:
                self._finish([job], again=True)
        elif too_large:
            self.store.queue.fail(self.name, ids, *_MEMORY)

    def _generate(self, jobs: Sequence[Job]) -> None:
        order = jobs[0].order
        loaded = self.open(order.model)
        started = time.perf_counter()
        ids = [job.id for job in jobs]

        def on_step(done: int, of: int) -> None:
            stage: Stage = "decoding" if done == of else "denoising"
            if not self.store.queue.advance(self.name, ids, stage, _SAMPLED * done // of):
                raise _Cancelled

        wanted = self._requests(jobs)
        if not wanted:
            raise _Cancelled
        videos = loaded.generator.generate(list(wanted.values()), order.sampling, on_step, order.frames)
        for job, frames in zip((job for job in jobs if job.id in wanted), videos, strict=True):
            self._keep(job, wanted[job.id], frames, loaded, started)

    def _requests(self, jobs: Sequence[Job]) -> dict[str, Request]:
        """What to generate, by id, without jobs that were deleted while the model was loaded."""
        wanted = self.store.queue.advance(self.name, [job.id for job in jobs], "encoding", 0)
        found = {}
        for job in jobs:
            order = job.order
            try:
                picture = self.files.picture(job.id) if order.image else None
            except FileNotFoundError:
                self.store.queue.fail(self.name, [job.id], *_STORAGE)  # no effect on a deleted job
                continue
            if job.id in wanted:
                level = order.motion_level
                found[job.id] = Request(picture, order.prompt, order.seed, order.fps, order.negative, level)
        return found

    def _keep(
        self, job: Job, request: Request, frames: UInt8[np.ndarray, "t h w 3"], loaded: Loaded, started: float
    ) -> None:
        order = job.order
        metadata = model_tags(order.model, loaded.revision, order.sampling) | request_tags(request, order.fps)
        self.files.keep_video(job.id, frames, order.fps, metadata)
        self.store.queue.complete(self.name, job, round(time.perf_counter() - started, 3))
