"""The HTTP routes: the video API that clients of 2026 use, and a page for browsers."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Match

from base.errors import StorageError
from serving.errors import ApiError, storage_unavailable
from serving.generate.files import NAMES, Variant
from serving.http import metrics
from serving.http.guard import Guard, answer
from serving.http.ranges import file_answer
from serving.http.schema import DeletedAnswer, ErrorAnswer, create_body, remix_body
from serving.jobs.job import Job, video_object
from serving.jobs.tables import is_unavailable
from serving.requests.bodies import read_body
from serving.requests.creation import Creation
from serving.requests.videos import Caller, Videos
from serving.video_api import Page, Video

log = logging.getLogger("motif.api")
_PAGE = Path(__file__).parents[1] / "page"
_SWEEP_S, _LOOK_S, _HEARTBEAT_S = 2.0, 0.2, 15.0
_ERRORS: dict[int | str, dict[str, Any]] = {"default": {"model": ErrorAnswer, "description": "An error"}}
_EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
_NO_STORE = {"cache-control": "no-store"}


async def _caller(request: Request) -> Caller:  # async, so that it uses no thread
    return Caller(request.state.owner, request.headers.get("idempotency-key"))


Who = Annotated[Caller, Depends(_caller)]


def build_api(open_videos: Callable[[], Videos]) -> Guard:
    """The ASGI application; ``open_videos`` is called once, immediately."""
    videos = open_videos()
    creation = Creation(videos)
    app = FastAPI(
        title="motif",
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(videos, creation),
        responses=_ERRORS,
        redirect_slashes=False,
    )
    _add_unsupported(app)
    _add_videos(app, videos, creation)
    _add_content(app, videos)
    _add_sync(app, videos, creation)
    _add_service(app, videos)
    _add_errors(app, videos)
    return Guard(app, videos.settings)


def _lifespan(videos: Videos, creation: Creation) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    async def keep_sweeping() -> None:
        while True:
            try:
                await run_in_threadpool(videos.sweep)
            except (StorageError, SQLAlchemyError) as error:
                videos.note_refusal(error)
            except Exception:
                log.exception("sweeping failed")
            await asyncio.sleep(_SWEEP_S)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(keep_sweeping())
        yield
        task.cancel()
        creation.close()
        videos.close()

    return lifespan


def _add_unsupported(app: FastAPI) -> None:
    """Answer 404 to newer endpoints, whose names would otherwise be taken for video ids."""

    async def unsupported(request: Request) -> Response:
        message = f"This server has no {request.url.path[:80]}: videos can be created, remixed and deleted."
        raise ApiError(404, "unsupported_endpoint", message)

    for name in ("edits", "extensions", "characters"):
        for path in (f"/v1/videos/{name}", f"/v1/videos/{name}/{{rest:path}}"):
            app.add_route(path, unsupported, methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)


def _add_videos(app: FastAPI, videos: Videos, creation: Creation) -> None:
    created: dict[int | str, dict[str, Any]] = {200: {"model": Video}}
    needed = create_body(videos.models)

    @app.post("/v1/videos", responses=created, openapi_extra=needed)
    async def create(request: Request, who: Who) -> Response:
        job = await creation.create(who, await read_body(request))
        return _shown(job, location=f"/v1/videos/{job.id}")

    @app.get("/v1/videos", responses={200: {"model": Page}})
    def page(
        who: Who,
        after: str | None = None,
        limit: Annotated[int, Query(ge=0, le=100)] = 20,
        order: Literal["asc", "desc"] = "desc",
    ) -> Response:
        return JSONResponse(videos.page(who, after, limit, order == "desc").to_dict(), headers=_NO_STORE)

    @app.get("/v1/videos/{video_id}", responses=created)
    def retrieve(video_id: str, who: Who) -> Response:
        job = videos.find(who, video_id)
        return _shown(job, **({"openai-poll-after-ms": str(_poll_after(videos))} if job.active else {}))

    @app.delete("/v1/videos/{video_id}", responses={200: {"model": DeletedAnswer}})
    def delete(video_id: str, who: Who) -> Response:
        return JSONResponse(videos.delete(who, video_id))

    @app.post("/v1/videos/{video_id}/remix", responses=created, openapi_extra=remix_body())
    async def remix(video_id: str, request: Request, who: Who) -> Response:
        job = await creation.remix(who, video_id, await read_body(request))
        return _shown(job, location=f"/v1/videos/{job.id}")


def _add_content(app: FastAPI, videos: Videos) -> None:
    kinds: dict[int | str, dict[str, Any]] = {200: {"content": {kind: {} for _, kind in NAMES.values()}}}

    @app.head("/v1/videos/{video_id}/content", include_in_schema=False)
    @app.get("/v1/videos/{video_id}/content", response_class=Response, responses=kinds)
    def content(video_id: str, request: Request, who: Who, variant: Variant = "video") -> Response:
        data = videos.content(who, video_id, variant)
        name, kind = NAMES[variant]
        found = file_answer(data, kind, f'"{video_id}-{variant}"', f"{video_id}{Path(name).suffix}", request.headers)
        if request.method == "HEAD":
            found.body = b""
        return found

    @app.get("/v1/videos/{video_id}/events", response_class=StreamingResponse, responses=_EVENTS)
    async def events(video_id: str, who: Who) -> Response:
        await run_in_threadpool(videos.find, who, video_id)
        headers = {**_NO_STORE, "x-accel-buffering": "no"}
        return StreamingResponse(_follow(videos, who, video_id), media_type="text/event-stream", headers=headers)


async def _follow(videos: Videos, who: Caller, video_id: str) -> AsyncIterator[str]:
    """Server-sent events: the video object whenever it has changed, until the job has ended."""
    last, said = None, time.monotonic()
    while True:
        job = await run_in_threadpool(videos.store.get, who.owner, video_id)
        if job is None:
            yield _event("deleted", {"id": video_id, "object": "video.deleted", "deleted": True})
            return
        if job != last:
            yield _event("progress" if job.active else job.status, video_object(job).to_dict())
            last, said = job, time.monotonic()
        elif time.monotonic() - said > _HEARTBEAT_S:  # so that proxies keep the connection open
            yield ": still here\n\n"
            said = time.monotonic()
        if not job.active:
            return
        await asyncio.sleep(_LOOK_S)


def _add_sync(app: FastAPI, videos: Videos, creation: Creation) -> None:
    kinds: dict[int | str, dict[str, Any]] = {200: {"content": {"video/mp4": {}}}}
    needed = create_body(videos.models)

    @app.post("/v1/videos/sync", response_class=Response, responses=kinds, openapi_extra=needed)
    async def sync(request: Request, who: Who) -> Response:
        job = await creation.finished(who, await read_body(request), request)
        data = await run_in_threadpool(videos.content, who, job.id, "video")
        facts = {
            "x-model": job.order.model,
            "x-seed": job.order.seed,
            "x-video-id": job.id,
            "x-inference-time-s": job.inference_time_s,
        }
        # Percent-encoded, since headers only hold Latin-1; plain values stay as they are.
        headers = {name: quote(str(value)) for name, value in facts.items()}
        return Response(data, media_type="video/mp4", headers=headers)


def _add_service(app: FastAPI, videos: Videos) -> None:
    most = videos.settings.body_mib << 20
    pages = {path.name: path for path in _PAGE.iterdir() if path.is_file()}

    @app.get("/v1/models")
    def models() -> Response:
        return JSONResponse(videos.models.listed(most))

    @app.get("/v1/models/{name}")
    def model(name: str) -> Response:
        return JSONResponse(videos.models.find(name).shown(most))

    @app.get("/health")
    async def health() -> Response:  # async: it answers even when all threads are busy
        return JSONResponse({"status": "ok"})

    @app.get("/ready")
    def ready() -> Response:
        if videos.storage_refuses():
            raise storage_unavailable()
        if videos.store.upkeep.draining():
            raise ApiError(503, "shutting_down", "The server is shutting down.", retry_after=10)
        state = videos.store.upkeep.state()
        if not state.workers:
            waiting = f"; jobs that wait: {state.queued}" if state.queued else ""
            raise ApiError(503, "not_ready", f"No worker is ready yet{waiting}.", retry_after=5)
        return JSONResponse({"status": "ready", **asdict(state)})

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def metrics_text() -> Response:
        text = metrics.render(videos.store, videos.settings.queue)
        return Response(text, headers={"content-type": metrics.CONTENT_TYPE})

    @app.get("/", response_class=FileResponse, include_in_schema=False)
    def index() -> Response:
        return FileResponse(pages["index.html"], headers={"cache-control": "no-cache"})

    @app.get("/page/{name}", response_class=FileResponse, include_in_schema=False)
    def page(name: str) -> Response:
        if name not in pages:
            raise HTTPException(404)
        return FileResponse(pages[name], headers={"cache-control": "no-cache"})


def _add_errors(app: FastAPI, videos: Videos) -> None:
    @app.exception_handler(ApiError)
    async def ours(_: Request, error: ApiError) -> Response:
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def query(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = str(first["loc"][-1])[:80]
        return answer(ApiError(400, "invalid_value", f"'{name}': {first['msg']}.", name))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        codes = {
            404: ("not_found", "There is nothing at this path."),
            405: ("method_not_allowed", f"This path does not answer to {request.method[:20]}."),
        }
        code, message = codes.get(error.status_code, ("http_error", str(error.detail)))
        found = ApiError(error.status_code, code, message)
        found.headers |= error.headers or {}
        if error.status_code == 405:  # the methods of all routes at this path, not only of the first
            found.headers["Allow"] = ", ".join(sorted(_methods(app, request)))
        return answer(found)

    @app.exception_handler(StorageError)
    @app.exception_handler(SQLAlchemyError)
    async def storage(request: Request, error: Exception) -> Response:
        if isinstance(error, SQLAlchemyError) and not is_unavailable(error):
            return await fault(request, error)
        videos.note_refusal(error)
        return answer(storage_unavailable())

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        log.error("%s %s", request.method, request.url.path, exc_info=error)
        return answer(ApiError(500, "internal_error", "Internal server error. See the server's log for details."))


def _methods(app: FastAPI, request: Request) -> set[str]:
    here = [route for route in app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return {method for route in here for method in getattr(route, "methods", None) or ()}


def _shown(job: Job, **headers: str) -> Response:
    return JSONResponse(video_object(job).to_dict(), headers={**_NO_STORE, **headers})


def _poll_after(videos: Videos) -> int:
    """Milliseconds: a twentieth of the time that a video takes, as a compromise between delay and load."""
    pace = videos.store.upkeep.pace() or 5.0
    return int(min(2000, max(250, pace * 50)))


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
