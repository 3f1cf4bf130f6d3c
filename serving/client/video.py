"""What a server tells of its videos, as the client hands it on."""

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Failure:
    """Why a video was not made."""

    code: str
    message: str


@dataclass(frozen=True)
class Video:
    """A job and what became of it.

    Times are seconds since 1970, ``seconds`` is the clip's length, ``progress`` in percent; ``queue_position`` counts
    from 0. What a server does not tell is None or empty.
    """

    id: str
    status: str
    model: str = ""
    progress: int = 0
    created_at: int = 0
    completed_at: int | None = None
    expires_at: int | None = None
    prompt: str | None = None
    size: str = ""
    seconds: str = ""
    remixed_from_video_id: str | None = None
    error: Failure | None = None
    seed: int | None = None
    queue_position: int | None = None
    stage: str | None = None
    inference_time_s: float | None = None
    warnings: tuple[str, ...] = ()
    num_frames: int | None = None
    fps: float | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    negative_prompt: str | None = None

    @property
    def done(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ("completed", "failed")

    @classmethod
    def read(cls, body: Any) -> "Video":
        """From a server's JSON; keys of newer servers are left out. ValueError where it is no video."""
        if not isinstance(body, dict) or body.get("object") != "video" or not {"id", "status"} <= body.keys():
            raise ValueError("no video object")
        known = {field.name: body[field.name] for field in dataclasses.fields(cls) if field.name in body}
        error, warnings = body.get("error"), body.get("warnings")
        known["error"] = Failure(str(error.get("code")), str(error.get("message"))) if isinstance(error, dict) else None
        known["warnings"] = tuple(map(str, warnings)) if isinstance(warnings, list) else ()
        return cls(**known)


@dataclass(frozen=True)
class Page:
    """Some videos of a list; ``last_id`` is the ``after`` of the next page."""

    data: tuple[Video, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool

    @classmethod
    def read(cls, body: Any) -> "Page":
        """From a server's JSON; KeyError, TypeError or ValueError where it is no list of videos."""
        data = tuple(Video.read(video) for video in body["data"])
        return cls(data, body.get("first_id"), body.get("last_id"), bool(body.get("has_more")))
