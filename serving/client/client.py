"""A client of the video server: create, wait, download. It needs neither torch nor Ray.

    with Client("http://127.0.0.1:8000") as client:
        client.generate("the star moves right", "star.png", "star.mp4", seed=7)
        client.generate("a star moves right", out="star.mp4", model="of-text-alone")

Failures raise :class:`ServerError` with a one-sentence message.
"""

import contextlib
import difflib
import json
import math
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Unpack
from urllib.parse import quote

import httpx2

from base.errors import InputError, StorageError
from serving.client.http import Http, RefusedError, ServerError, check
from serving.video_api import Failure, Page, Video, VideoSettings

Image = Path | str | bytes
Variant = Literal["video", "thumbnail", "spritesheet"]
_POLL_MS = 1000  # when a server does not say how long to wait


OnProgress = Callable[[Video], None]


def _ignore(line: str) -> None:
    pass


class Client:
    """A connection to one server.

    An attempt fails after ``timeout`` seconds without data; while the server is busy, requests are retried for
    ``patience`` seconds. ``on_retry`` receives a line with the reason and the delay before each retry.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout: float = 30.0,
        patience: float = 300.0,
        on_retry: Callable[[str], None] = _ignore,
    ) -> None:
        self._http = Http(url, key, timeout, patience, on_retry)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.open.close()

    def create(self, prompt: str, image: Image | None = None, **settings: Unpack[VideoSettings]) -> Video:
        """Request a video that begins with the image, given as a path or as bytes. Returns the job immediately.

        A text-to-video model takes no image; other models need one.
        """
        for name in settings.keys() - VideoSettings.__annotations__.keys():
            close = difflib.get_close_matches(name, VideoSettings.__annotations__, 1)
            raise InputError(f"{name}: no such setting" + (f"; did you mean {close[0]}?" if close else "."))
        given: dict[str, object] = {"prompt": prompt, **settings}
        key = given.pop("idempotency_key", None)
        files = {} if image is None else {"input_reference": _upload(image)}
        return self._post("/v1/videos", key, data=dict(_form(given)), files=files)

    def remix(self, video_id: str, prompt: str, idempotency_key: str | None = None) -> Video:
        """Request a video with the same image (if any), seed and settings but another prompt."""
        return self._post(f"{_path(video_id)}/remix", idempotency_key, json={"prompt": prompt})

    def _post(self, path: str, key: object, **content: Any) -> Video:
        headers = {"idempotency-key": str(key or uuid.uuid4().hex)}
        return self._http.read(Video.read, self._http.request("POST", path, headers=headers, **content))

    def get(self, video_id: str) -> Video:
        """The current state of a job."""
        return self._http.read(Video.read, self._http.request("GET", _path(video_id)))

    def list(self, after: str | None = None, limit: int = 20, order: Literal["asc", "desc"] = "desc") -> Page:
        """One page of the videos that the server keeps, by default the newest."""
        asked = {"limit": str(limit), "order": order} | ({"after": after} if after else {})
        return self._http.read(Page.read, self._http.request("GET", "/v1/videos", params=asked))

    def videos(self, order: Literal["asc", "desc"] = "desc") -> Iterator[Video]:
        """All videos that the server keeps, page by page."""
        after: str | None = None
        while True:
            page = self.list(after, 100, order)
            yield from page.data
            if not page.has_more or page.last_id in (None, after):
                return
            after = page.last_id

    def wait(self, video_id: str, on_progress: OnProgress | None = None, limit_s: float = math.inf) -> Video:
        """Wait until a video is completed or failed, at most ``limit_s``; each change is passed to ``on_progress``."""
        ends = time.monotonic() + limit_s
        last: Video | None = None

        def tell(video: Video) -> None:
            nonlocal last
            if on_progress and video != last:
                on_progress(video)
            last = video

        follow = True
        while True:
            response = self._http.request("GET", _path(video_id))
            video = self._http.read(Video.read, response)
            tell(video)
            left = ends - time.monotonic()
            if video.done:
                return video
            if left <= 0:
                how = f"{video.status} at {video.progress} %"
                raise ServerError(
                    f"video {video_id} is {how} after {limit_s:g} s: wait longer, or delete it.", "timeout"
                )
            if follow:  # only once: a stream that broke will break again, and polling always works
                self._follow(video_id, tell, ends)
                follow = False
            else:
                time.sleep(min(float(response.headers.get("openai-poll-after-ms", _POLL_MS)) / 1000, left))

    def _follow(self, video_id: str, tell: OnProgress, ends: float) -> None:
        """Report the server's events until the last one, or until the stream breaks for any reason.

        Stops early when less time is left than a read may take: the server's keep-alive comments restart the read
        timeout, so only polling keeps the overall limit.
        """
        silence = min(self._http.timeout, ends - time.monotonic())
        headers = {"accept": "text/event-stream", "cache-control": "no-store"}
        with (
            contextlib.suppress(httpx2.RequestError),
            self._http.open.stream("GET", f"{_path(video_id)}/events", headers=headers, timeout=silence) as response,
        ):
            if not response.is_success:
                return
            for line in response.iter_lines():
                field, _, value = line.partition(":")
                if field == "data" and (video := _told(value)):
                    tell(video)
                if ends - time.monotonic() < silence:
                    return

    def content(self, video_id: str, variant: Variant = "video") -> bytes:
        """The bytes of the mp4, thumbnail or sprite sheet."""
        return self._http.request("GET", f"{_path(video_id)}/content", params={"variant": variant}).content

    def download(self, video_id: str, path: Path | str, variant: Variant = "video") -> None:
        """Write the mp4, thumbnail or sprite sheet to a file, atomically."""
        target = Path(path)
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
        place = f"{_path(video_id)}/content"

        def attempt(_: int) -> None:
            with self._http.explained(), self._http.open.stream("GET", place, params={"variant": variant}) as response:
                check(response)
                with part.open("wb") as file:
                    for chunk in response.iter_bytes():
                        file.write(chunk)

        try:
            self._http.repeat(attempt)
            part.replace(target)
        except OSError as error:
            raise StorageError(f"{target} cannot be written: {error.strerror}.") from error
        finally:
            part.unlink(missing_ok=True)

    def delete(self, video_id: str) -> None:
        """Delete a video; one that is being generated is cancelled."""

        def attempt(number: int) -> None:
            try:
                self._http.once("DELETE", _path(video_id))
            except RefusedError as error:
                if error.status != 404 or number == 0:  # else an earlier attempt succeeded unseen
                    raise

        self._http.repeat(attempt)

    def models(self) -> tuple[dict[str, Any], ...]:
        """The models of the server and what each of them can do."""
        return self._http.read(
            lambda body: tuple(dict(model) for model in body["data"]), self._http.request("GET", "/v1/models")
        )

    def ready(self) -> dict[str, Any]:
        """Numbers of queued and running jobs and of workers; ServerError says why the server is not ready."""
        return self._http.read(_numbers, self._http.request("GET", "/ready"))

    def generate(
        self,
        prompt: str,
        image: Image | None = None,
        out: Path | str = "",
        on_progress: OnProgress | None = None,
        **settings: Unpack[VideoSettings],
    ) -> Video:
        """Create, wait and download to ``out``; raises ServerError when the video failed.

        A text-to-video model takes no image; other models need one.
        """
        if not out:
            raise InputError("out is missing: give the name of an mp4 file.")
        video = self.wait(self.create(prompt, image, **settings).id, on_progress)
        if video.status == "failed":
            raise failed(video)
        self.download(video.id, out)
        return video


def failed(video: Video) -> ServerError:
    """The error for a video that failed."""
    error = video.error or Failure("generation_failed", "the server does not say why.")
    return ServerError(f"video {video.id} failed: {error.message}", error.code)


def _numbers(body: Any) -> dict[str, Any]:
    return {name: body[name] for name in ("queued", "in_progress", "workers", "oldest_s")}


def _told(data: str) -> Video | None:
    """The video of an event, or None for events of other kinds."""
    try:
        return Video.read(json.loads(data))
    except ValueError:
        return None


def _path(video_id: str) -> str:
    return f"/v1/videos/{quote(video_id, safe='')}"


def _form(given: Mapping[str, object], inside: str = "") -> Iterator[tuple[str, str]]:
    """Form fields, nested ones in brackets: ``extra_params[eta]``."""
    for name, value in given.items():
        key = f"{inside}[{name}]" if inside else name
        if isinstance(value, Mapping):
            yield from _form(value, key)
        elif value is not None:
            yield key, str(value).lower() if isinstance(value, bool) else str(value)


def _upload(image: Image) -> tuple[str, bytes]:
    """File name and bytes for the form; of the user's file name only the suffix is sent."""
    if isinstance(image, bytes):
        return "image", image
    try:
        return f"image{Path(image).suffix}", Path(image).read_bytes()
    except OSError as error:
        raise InputError(f"image {image} cannot be read: {error.strerror}.") from error
