"""The HTTP routes: the page for raters, and what it asks for."""

import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, Response

from base.errors import InputError
from evaluation.serve.assign import Question, question_of
from evaluation.serve.platforms import identify, return_url
from evaluation.serve.settings import Settings
from evaluation.serve.store import Ballot, Rater, Refused, Session, VoteStore
from evaluation.serve.tables import fingerprint
from evaluation.study.study import Side, Study
from serving.errors import ApiError, invalid, storage_unavailable
from serving.http.guard import Guard, answer
from serving.jobs.tables import is_unavailable
from serving.settings import Settings as ServerSettings

log = logging.getLogger("motif.study")
_PAGE = Path(__file__).parent / "page"
_STATUS = {
    "unknown_rater": 401,
    "unknown_task": 404,
    "already_answered": 409,
    "task_lost": 409,
    "too_early": 409,
}  # of refusals; others are 403
_NO_STORE = {"cache-control": "no-store"}
_KEPT = {"cache-control": "private, max-age=3600"}
_MONTH_S = 30 * 86400
_TURK = "https://*.mturk.com"
_TASK_ID, _TOKEN = re.compile(r"[0-9a-f]{32}"), re.compile(r"[A-Za-z0-9_-]{1,64}")
_KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".mp4": "video/mp4"}

Reason = Literal["motion", "text", "image", "quality"]
Ids = dict[Annotated[str, Field(max_length=32)], Annotated[str, Field(max_length=100)]]


class _Begin(BaseModel):
    model_config = ConfigDict(extra="forbid")

    consent: bool
    ids: Annotated[Ids, Field(max_length=8)] = {}


class _Next(BaseModel):
    model_config = ConfigDict(extra="forbid")

    ids: Annotated[Ids, Field(max_length=8)] = {}


class _Vote(BaseModel):
    model_config = ConfigDict(extra="forbid")

    choice: Side
    reasons: Annotated[list[Reason], Field(max_length=4)]
    watched: Annotated[list[Side], Field(max_length=2)]
    """The videos that were played to the end."""


def check_files(folder: Path, study: Study) -> None:
    """InputError names a file of the study that is not there."""
    names = {name for pair in study.pairs for name in (pair.a, pair.b, pair.image) if name}
    if missing := sorted(name for name in names if not (folder / name).is_file()):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"study {folder}: {missing[0]}{more} is missing. Copy the study's whole folder.")


def build_app(folder: Path, store: VoteStore) -> Guard:
    """The ASGI application of a study in a folder."""
    app = FastAPI(title="motif study", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    _add_page(app, store.settings)
    _add_raters(app, store)
    _add_files(app, folder, store)
    _add_errors(app)
    return Guard(app, ServerSettings(body_mib=1))


def cookie_name(study: Study) -> str:
    """The name of the cookie that holds a rater's token; each study has its own."""
    return f"motif_study_{fingerprint(study)[:8]}"


def _add_page(app: FastAPI, settings: Settings) -> None:
    pages = {path.name: path for path in _PAGE.iterdir() if path.is_file()}
    turk = settings.platform == "mturk"  # shows the page in a frame, and receives its form
    framed, sent = (_TURK, f"'self' {_TURK}") if turk else ("'none'", "'self'")
    policy = f"default-src 'self'; base-uri 'none'; form-action {sent}; frame-ancestors {framed}"

    @app.get("/")
    def index() -> Response:
        headers = {"cache-control": "no-cache", "content-security-policy": policy}
        return FileResponse(pages["index.html"], headers=headers)

    @app.get("/page/{name}")
    def page(name: str) -> Response:
        if name not in pages:
            raise HTTPException(404)
        return FileResponse(pages[name], headers={"cache-control": "no-cache"})

    @app.get("/health")
    async def health() -> Response:
        return JSONResponse({"status": "ok"})


def _add_raters(app: FastAPI, store: VoteStore) -> None:
    settings, study = store.settings, store.study
    cookie = cookie_name(study)

    @app.get("/api/study")
    def about() -> Response:
        total = min(settings.tasks, len(study.pairs)) + len(study.gold)
        told = {"tasks": total, "least_seconds": store.wait_s, "platform": settings.platform}
        return JSONResponse(told | {"contact": settings.contact}, headers=_NO_STORE)

    @app.post("/api/raters")
    def begin(body: _Begin, request: Request) -> Response:
        if not body.consent:
            raise invalid("consent", "Agree to take part to begin.", "no_consent")
        name, ids = identify(settings.platform, body.ids)
        rater = (_found(store, _token(request, cookie)) if name is None else None) or store.begin(name, ids)
        found = JSONResponse({"token": rater.token}, headers=_NO_STORE)
        secure = request.url.scheme == "https"
        found.set_cookie(cookie, rater.token, max_age=_MONTH_S, httponly=True, samesite="strict", secure=secure)
        return found

    @app.post("/api/next")
    def following(body: _Next, request: Request) -> Response:
        try:
            name, _ = identify(settings.platform, body.ids)
        except Refused as error:
            return JSONResponse({"status": "new", "notice": error.message}, headers=_NO_STORE)
        rater = _found(store, _token(request, cookie))
        if rater is None or name not in (None, rater.name):  # or somebody else used this browser before
            return JSONResponse({"status": "new"}, headers=_NO_STORE)
        return JSONResponse(_shown(store, store.next(rater.token)), headers=_NO_STORE)

    @app.post("/api/tasks/{task_id}/vote")
    def vote(task_id: str, body: _Vote, request: Request) -> Response:
        if {*body.watched} != {"left", "right"}:
            raise invalid("watched", "Watch both videos to the end first.", "not_watched")
        if not body.reasons:
            raise invalid("reasons", "Give at least one reason.", "no_reason")
        known_id = task_id if _TASK_ID.fullmatch(task_id) else ""
        store.vote(_token(request, cookie), known_id, Ballot(body.choice, tuple(body.reasons)))
        return JSONResponse({"task": task_id, "stored": True}, headers=_NO_STORE)


def _token(request: Request, cookie: str) -> str:
    """The page sends the token itself as well, since browsers keep cookies from frames on other sites."""
    kind, _, sent = request.headers.get("authorization", "").partition(" ")
    token = sent.strip() if kind.lower() == "bearer" else request.cookies.get(cookie, "")
    return token if _TOKEN.fullmatch(token) else ""


def _found(store: VoteStore, token: str) -> Rater | None:
    try:
        return store.find(token)
    except Refused:  # nobody, or somebody of another database
        return None


def _shown(store: VoteStore, session: Session) -> dict[str, Any]:
    """A session as the page sees it: paths are relative, and name no file."""
    found: dict[str, Any] = {"status": session.status, "done": session.done, "total": session.total}
    if session.status == "complete":
        found |= {"code": session.code, "return_url": return_url(store.settings.platform, session.code)}
    if task := session.task:
        question, place = question_of(store.study, task.slot), f"tasks/{task.id}"
        found["task"] = {
            "id": task.id,
            "prompt": question.prompt,
            "image": f"{place}/image" if question.image else None,
            "left": f"{place}/left",
            "right": f"{place}/right",
            "elapsed": task.elapsed,
            "lock_seconds": store.settings.lock_seconds,
            "least_seconds": store.wait_s,
        }
    return found


def _add_files(app: FastAPI, folder: Path, store: VoteStore) -> None:
    @app.get("/tasks/{task_id}/{part}")
    def part(task_id: str, part: Literal["left", "right", "image"]) -> Response:
        """A file of a task. Its id, which only its rater has, is what a name would give away."""
        slot = store.slot_of(task_id) if _TASK_ID.fullmatch(task_id) else None
        name = _file(question_of(store.study, slot), part) if slot else ""
        if not name:
            raise HTTPException(404)
        return FileResponse(folder / name, headers=_KEPT, media_type=_KINDS.get(Path(name).suffix.lower()))


def _file(question: Question, part: Literal["left", "right", "image"]) -> str:
    return {"left": question.left, "right": question.right, "image": question.image}[part]


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        retry = None if error.wait_s is None else math.ceil(error.wait_s)
        return answer(ApiError(_STATUS.get(error.code, 403), error.code, error.message, retry_after=retry))

    @app.exception_handler(ApiError)
    async def ours(_: Request, error: ApiError) -> Response:
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def body(_: Request, error: RequestValidationError) -> Response:
        first: Mapping[str, Any] = error.errors()[0]
        name = str(first["loc"][-1])[:80]
        return answer(invalid(name, f"'{name}': {first['msg']}."))

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        found = ApiError(error.status_code, "not_found" if error.status_code == 404 else "http_error", error.detail)
        found.headers |= error.headers or {}
        return answer(found)

    @app.exception_handler(SQLAlchemyError)
    async def storage(request: Request, error: SQLAlchemyError) -> Response:
        if not is_unavailable(error):
            return await fault(request, error)
        log.error("the database refuses: %s", error)
        return answer(storage_unavailable())

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        log.error("%s %s", request.method, request.url.path, exc_info=error)
        return answer(ApiError(500, "internal_error", "Internal server error. See the server's log for details."))
