"""What the routes do, without HTTP: create, find, list, delete and remix videos."""

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from media.picture import PictureError
from models.misfits import superfluous_image
from serving.errors import ApiError, invalid, not_found
from serving.generate.files import Files, Variant
from serving.generate.models import Models, ServedModel
from serving.jobs.counters import count
from serving.jobs.job import Job, NewJob, Order, video_object
from serving.jobs.leftovers import Leftovers
from serving.jobs.store import JobStore, QueueFull
from serving.requests.bodies import Body
from serving.requests.decoding import DecodeLimits, PictureDecoder
from serving.requests.fetch import fetch_picture
from serving.requests.fields import read_fields, resolve
from serving.settings import Settings
from serving.video_api import Page, RemixRequest, VideoRequest

log = logging.getLogger("motif.videos")
_MAX_KEY = 255
_REFUSALS = 3  # storage failures that end a sweep: each may take seconds
_REFUSES_S = 10.0  # how long /ready reports a storage failure; sweeps write every two seconds
_MOST_WAIT_S = 120  # clients do not retry by themselves after longer waits


@dataclass(frozen=True)
class Caller:
    """The caller: the hash of the API key as ``owner``, and the request's idempotency key."""

    owner: str
    idempotency_key: str | None = None


@runtime_checkable
class Wake(Protocol):
    """Calls workers."""

    def __call__(self, waiting: int | None = None) -> None:
        """Signal that one more job waits, or ``waiting`` in all; returns immediately."""


class Videos:
    """The videos of a server. Every method blocks."""

    def __init__(self, settings: Settings, models: Models, store: JobStore, files: Files, wake: Wake) -> None:
        self.settings, self.models, self.store, self.files, self.wake = settings, models, store, files, wake
        self.decoder = PictureDecoder(DecodeLimits(settings.megapixels))
        self.leftovers = Leftovers(store.engine)
        self._refused_at = -math.inf

    def close(self) -> None:
        """Close the decoder and the store."""
        self.decoder.close()
        self.store.close()

    def create(self, caller: Caller, body: Body) -> Job:
        """A new job, or the existing one with the same idempotency key and content."""
        request = read_fields(VideoRequest, body.fields)
        model = self.models.find(request.model)
        order = resolve(request, model)
        if body.has_picture and not order.image:
            raise invalid("input_reference", superfluous_image(model.id), "unsupported_value")
        fingerprint = _fingerprint({"fields": _told(request), "url": body.url}, body.picture)
        if same := self._admit(caller, fingerprint):
            return same
        new = NewJob(caller.owner, order, fingerprint, caller.idempotency_key)
        if not order.image:
            return self._add(new, _nothing)
        data = self._picture(body)
        with self.decoder.turn():
            if same := self._admit(caller, fingerprint):  # things may have changed while this request waited
                return same
            picture = self._first_frame(data, model)
        return self._add(new, lambda: self.files.keep_picture(new.id, picture))

    def remix(self, caller: Caller, video_id: str, body: Body) -> Job:
        """A new job with another prompt but the same picture, if any, seed, settings and model."""
        request = read_fields(RemixRequest, body.fields)
        if body.has_picture:
            message = "A remix uses the picture of its video: leave the picture out."
            raise invalid("input_reference", message, "unknown_parameter")
        source = self.find(caller, video_id)
        model = self.models.find(source.order.model)
        if not _made_by(model, source.order):  # another one has its name now
            message = f"{model.id} is not the model that made this video: create a new one."
            raise invalid(None, message, "unsupported_value")
        fingerprint = _fingerprint({"remix": source.id, "prompt": request.prompt}, None)
        if same := self._admit(caller, fingerprint):
            return same
        order = replace(source.order, prompt=request.prompt)
        new = NewJob(caller.owner, order, fingerprint, caller.idempotency_key, remixed_from=source.id)

        def copy() -> None:
            try:
                self.files.copy_picture(source.id, new.id)
            except FileNotFoundError:  # deleted since
                raise not_found(video_id) from None

        return self._add(new, copy if order.image else _nothing)

    def find(self, caller: Caller, video_id: str) -> Job:
        """A job of the caller; 404 for other callers' jobs."""
        job = self.store.get(caller.owner, video_id)
        if job is None:
            raise not_found(video_id)
        return job

    def page(self, caller: Caller, after: str | None, limit: int, newest_first: bool) -> Page:
        """A page of the caller's videos."""
        found = self.store.page(caller.owner, after, limit, newest_first)
        if found is None:
            raise invalid("after", "'after' is not one of your videos.")
        jobs, more = found
        data = tuple(map(video_object, jobs))
        return Page(data, data[0].id if data else None, data[-1].id if data else None, more)

    def delete(self, caller: Caller, video_id: str) -> dict[str, Any]:
        """Delete a video; if it is being generated, that ends at the next step."""
        job = self.store.delete(caller.owner, video_id)
        if job is None:
            raise not_found(video_id)
        self._remove(job.id)
        return {"id": job.id, "object": "video.deleted", "deleted": True}

    def content(self, caller: Caller, video_id: str, variant: Variant) -> bytes:
        """The file of a finished video."""
        job = self.find(caller, video_id)
        if job.status == "failed":
            code, message = job.error or ("", "")
            raise ApiError(422, "generation_failed", f"The video failed ({code}): {message}")
        if job.status != "completed":
            raise ApiError(404, "video_not_ready", f"The video is {job.status}, at {job.progress} %. Try again later.")
        try:
            return self.files.read(video_id, variant)
        except FileNotFoundError:
            raise not_found(video_id) from None

    def retry_after(self) -> int:
        """Estimated seconds until a worker takes the next batch."""
        workers = max(1, self.store.upkeep.state().workers)
        return min(_MOST_WAIT_S, max(1, math.ceil((self.store.upkeep.pace() or 5.0) / workers)))

    def note_refusal(self, error: Exception) -> None:
        """Record that the database or the folder failed; logged once, not for every request."""
        if not self.storage_refuses():
            log.error("storage failed: %s", error)
        self._refused_at = time.monotonic()

    def storage_refuses(self) -> bool:
        """Whether the database or the folder has failed in the last seconds."""
        return time.monotonic() - self._refused_at < _REFUSES_S

    def sweep(self) -> None:
        """Fail lost jobs, call workers for queued ones, and remove files of deleted and expired ones.

        It writes to the database and to a local folder, which detects storage failures without a request.
        """
        self.store.upkeep.sweep()
        self.files.try_to_write()
        if queued := self.store.upkeep.state().queued:  # before removing files, which may be slow
            self.wake(waiting=queued)
        refused = 0
        for video_id in self.leftovers.ids():
            refused += not self._remove(video_id)
            if refused == _REFUSALS:
                break

    def _remove(self, video_id: str) -> bool:
        """Remove a video's files; after a storage failure, later sweeps retry."""
        try:
            self.files.remove(video_id)
        except Exception:  # any error: the job is deleted, and only this record knows of its files
            if self.leftovers.refused(video_id) == 1:
                log.exception("the files of %s could not be removed yet", video_id)
            return False
        self.leftovers.removed(video_id)
        return True

    def _add(self, new: NewJob, keep: Callable[[], None]) -> Job:
        """Write a job's picture, if any, then queue the job; the picture is removed if the job is not accepted."""
        queued = False
        try:
            keep()
            job, queued = self.store.add(new, self.settings.queue)
        except QueueFull as full:
            raise self._full(full.length) from None
        finally:
            if not queued:
                self._remove(new.id)
        if not queued:  # another request with the same key was faster
            return self._made_before(new.owner, new.idempotency_key, new.fingerprint) or job
        self.wake()
        return job

    def _made_before(self, owner: str, key: str | None, fingerprint: str) -> Job | None:
        if key is None:
            return None
        if not 0 < len(key) <= _MAX_KEY:
            raise invalid("Idempotency-Key", f"'Idempotency-Key' must have 1 to {_MAX_KEY} characters.")
        found = self.store.by_key(owner, key)
        if found is None:
            return None
        job, known = found
        if known != fingerprint:
            raise ApiError(
                409, "idempotency_key_reused", "This Idempotency-Key was used for another request: use a new one."
            )
        return job

    def _admit(self, caller: Caller, fingerprint: str) -> Job | None:
        """The existing job with the same key, or None; ApiError if no further job is accepted at the moment."""
        if same := self._made_before(caller.owner, caller.idempotency_key, fingerprint):
            return same
        if self.store.upkeep.draining():
            raise ApiError(503, "shutting_down", "The server is shutting down: try again soon.", retry_after=10)
        waiting = self.store.upkeep.state().queued
        if waiting >= self.settings.queue:  # the store decides; this check avoids useless work
            with self.store.engine.begin() as connection:
                count(connection, "motif_requests_refused", code="queue_full")
            raise self._full(waiting)
        return None

    def _full(self, waiting: int) -> ApiError:
        message = f"The queue is full with {waiting} videos: try again later."
        return ApiError(429, "queue_full", message, retry_after=self.retry_after())

    def _picture(self, body: Body) -> bytes:
        """A picture's file, downloaded if necessary."""
        data = body.picture
        if body.url is not None:
            data = fetch_picture(body.url, self.settings.image_hosts, self.settings.body_mib << 20)
        if data is None:
            raise invalid(
                "input_reference", "'input_reference' is missing: give the picture to begin with.", "missing_parameter"
            )
        return data

    def _first_frame(self, data: bytes, model: ServedModel) -> UInt8[np.ndarray, "height width 3"]:
        """The picture, decoded and fitted to the model's size."""
        try:
            return self.decoder.first_frame(data, model.height, model.width)
        except PictureError as error:
            raise invalid("input_reference", f"'input_reference': {error}", error.code) from None


def _made_by(model: ServedModel, order: Order) -> bool:
    """Whether a model takes what an order gives it."""
    return (order.image, order.motion_level is not None) == (model.takes_image, model.takes_motion_level)


def _told(request: VideoRequest) -> dict[str, Any]:
    """The fields that tell requests apart; without a motion level as in earlier versions, whose requests are known."""
    ignored = {"user"} if request.motion_level is not None else {"user", "motion_level"}
    return request.model_dump(mode="json", exclude=ignored)


def _nothing() -> None:
    """The job has no picture."""


def _fingerprint(content: dict[str, Any], picture: bytes | None) -> str:
    hashed = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    hashed.update(hashlib.sha256(picture or b"").digest())
    return hashed.hexdigest()
