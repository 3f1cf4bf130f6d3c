"""Creates jobs for requests on a thread pool, and deletes them when a waiting caller has gone."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from serving.errors import ApiError, not_found
from serving.jobs.job import Job
from serving.requests.bodies import Body
from serving.requests.decoding import too_busy
from serving.requests.videos import Caller, Videos

log = logging.getLogger("motif.creation")
_THREADS = 16
_LOOK_S = 0.2


class Creation:
    """Creates jobs off the event loop.

    Its own thread pool keeps uploads that wait for decoding, and pictures that are fetched, from blocking the
    threads of the other routes.
    """

    def __init__(self, videos: Videos) -> None:
        self.videos = videos
        self._pool = ThreadPoolExecutor(_THREADS, "creation")
        self._taking_back: set[asyncio.Task[None]] = set()  # asyncio only keeps weak references to tasks

    def close(self) -> None:
        """Accept no more work."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def create(self, who: Caller, body: Body) -> Job:
        """See :meth:`serving.requests.videos.Videos.create`."""
        return await asyncio.wrap_future(self._submit(self.videos.create, who, body))

    async def remix(self, who: Caller, video_id: str, body: Body) -> Job:
        """See :meth:`serving.requests.videos.Videos.remix`."""
        return await asyncio.wrap_future(self._submit(self.videos.remix, who, video_id, body))

    def _submit(self, act: Callable[..., Job], *args: Any) -> "Future[Job]":
        """Run on the pool; ApiError 503 if no thread becomes free within the time that a request waits for its turn."""
        latest = time.monotonic() + self.videos.decoder.limits.turn_s

        def in_time() -> Job:
            if time.monotonic() > latest:
                raise too_busy()
            return act(*args)

        return self._pool.submit(in_time)

    async def finished(self, who: Caller, body: Body, request: Request) -> Job:
        """Create a job and wait until it has ended; 504 if that takes too long, 404 if it is deleted.

        When the caller disconnects (Ray Serve then cancels the request's task) or waits too long, the job is deleted,
        unless it has an idempotency key: others may wait for it, and a retry should find it.
        """
        creation = self._submit(self.videos.create, who, body)
        try:
            return await self._ended(who, await asyncio.wrap_future(creation), request)
        except BaseException:
            if who.idempotency_key is None:  # so the job, if any, was created by this call
                task = asyncio.create_task(self._take_back(who, creation))
                self._taking_back.add(task)
                task.add_done_callback(self._taking_back.discard)
                await asyncio.shield(task)
            raise

    async def _ended(self, who: Caller, job: Job, request: Request) -> Job:
        deadline = time.monotonic() + self.videos.settings.sync_seconds
        while job.active:
            if time.monotonic() > deadline:
                raise ApiError(504, "timeout", "The video took too long: create it with POST /v1/videos and poll.")
            if await request.is_disconnected():
                raise not_found(job.id)
            await asyncio.sleep(_LOOK_S)
            job = await run_in_threadpool(self.videos.find, who, job.id)
        return job

    async def _take_back(self, who: Caller, creation: "Future[Job]") -> None:
        """Delete a job that may still be being created, since a running thread cannot be stopped."""
        if creation.cancel() or (creation.done() and creation.exception()):
            return
        try:
            with contextlib.suppress(ApiError):  # it was refused, or already deleted
                job = await asyncio.wrap_future(creation)
                await run_in_threadpool(self.videos.delete, who, job.id)
        except Exception:
            log.exception("a video whose caller has gone could not be deleted")
