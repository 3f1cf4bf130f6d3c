"""A worker: takes waiting jobs of one shape, generates their videos, and looks at each step who still wants one."""

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
from serving.jobs.job import Job, Stage
from serving.jobs.queue import ALIVE_S
from serving.jobs.store import JobStore

log = logging.getLogger("motif.worker")
Load = Callable[[str], "Loaded"]
_SAMPLED = 95  # per cent that are done when the last step is; decoding and writing are the rest

_MEMORY = ("out_of_memory", "The video could not be made: the memory of the device did not suffice, even for it alone.")
_STORAGE = ("storage_failed", "The video could not be kept: the server's storage refused. Ask for it again later.")


@runtime_checkable
class Generates(Protocol):
    """What a worker asks of a model; :class:`models.generator.Generator` does it."""

    def generate(
        self, requests: Sequence[Request], options: Sampling, on_step: OnStep, frames: int
    ) -> UInt8[np.ndarray, "b t h w 3"]:
        """Videos of the requests; what ``on_step`` raises ends it."""


@dataclass(frozen=True)
class Loaded:
    """A model, ready, and which bytes it is."""

    generator: Generates
    revision: str


class _Cancelled(Exception):  # noqa: N818 - a fact, like StopIteration
    """Nobody wants any video of the batch any more."""


class Worker:
    """Generates for a job store; ``load`` opens a model by its name, up to ``models`` are kept.

    ``served`` are the names that ``load`` knows, jobs of others are left to others; None: it knows all.
    A context manager: while it is open, a thread of it tells the store that it lives.
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
        self.broken = False  # the device can no longer be used by this process, whatever happens later
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()
        self._busy = threading.Lock()  # held for as long as a batch takes
        self._left = False  # whether the store may book a job under this name that no batch is at
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
        """Tell the store that this worker lives; between batches, also fail what the last one could not report."""
        self.store.queue.beat(self.name)
        if self._left and self._busy.acquire(blocking=False):
            try:
                self.store.queue.fail_held(self.name)
                self._left = False
            finally:
                self._busy.release()

    def open(self, model: str) -> Loaded:
        """A model, loaded if it is not; the one unused longest makes room."""
        if model not in self._loaded:
            while len(self._loaded) >= self.models:
                self._loaded.popitem(last=False)
            self._loaded[model] = self.load(model)
        self._loaded.move_to_end(model)
        return self._loaded[model]

    def work(self) -> int:
        """Claim a batch and come to an end with it; returns how many jobs that were, 0 where none waits.

        With a broken device nothing is claimed: it would all fail, and waits for a process that can make it.
        """
        with self._busy:
            if self.broken:
                return 0
            self._left = True  # it stays so where the store refuses, which raises
            claimed = self.store.queue.claim(self.name, self.batch, self._loaded, served=self.served)
            if claimed:
                self._finish(claimed)
            self._left = False
        return len(claimed)

    def _finish(self, jobs: Sequence[Job], again: bool = False) -> None:
        """Whatever happens but to the store, each of these jobs is completed, failed or deleted afterwards.

        ``again``: memory has not sufficed for them together.
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
            too_large = True  # acted on below: in here the traceback keeps all that the batch had allocated
        except StorageError:
            log.exception("storage refused")
            self.store.queue.fail(self.name, ids, *_STORAGE)
        except Exception as error:
            log.exception("generation failed")
            self.broken |= isinstance(error, torch.AcceleratorError)
            self.store.queue.fail(self.name, ids, *FAILED)
        if too_large and len(jobs) > 1:
            log.warning("out of memory with %d videos together: one by one", len(jobs))
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
        """What to generate, by id; what was deleted while the model was loaded is left out."""
        wanted = self.store.queue.advance(self.name, [job.id for job in jobs], "encoding", 0)
        found = {}
        for job in jobs:
            order = job.order
            try:
                picture = self.files.picture(job.id)
            except FileNotFoundError:
                self.store.queue.fail(self.name, [job.id], *_STORAGE)  # of a deleted job there is nothing left to fail
                continue
            if job.id in wanted:
                found[job.id] = Request(picture, order.prompt, order.seed, order.fps, order.negative)
        return found

    def _keep(
        self, job: Job, request: Request, frames: UInt8[np.ndarray, "t h w 3"], loaded: Loaded, started: float
    ) -> None:
        order = job.order
        metadata = model_tags(order.model, loaded.revision, order.sampling) | request_tags(request, order.fps)
        self.files.keep_video(job.id, frames, order.fps, metadata)
        self.store.queue.complete(self.name, job, round(time.perf_counter() - started, 3))
