"""The server's video objects, as the client returns them."""

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Failure:
    """Why a video was not generated."""

    code: str
    message: str


@dataclass(frozen=True)
class Video:
    """A job and its state.

    Times are seconds since 1970, ``seconds`` is the clip's length, ``progress`` in percent; ``queue_position`` counts
    from 0. Fields that a server does not send are None or empty.
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
        """Whether the job has ended."""
        return self.status in ("completed", "failed")

    @classmethod
    def read(cls, body: Any) -> "Video":
        """From a server's JSON; unknown keys are ignored. ValueError if it is not a video."""
        if not isinstance(body, dict) or body.get("object") != "video" or not {"id", "status"} <= body.keys():
            raise ValueError("no video object")
        known = {field.name: body[field.name] for field in dataclasses.fields(cls) if field.name in body}
        error, warnings = body.get("error"), body.get("warnings")
        known["error"] = Failure(str(error.get("code")), str(error.get("message"))) if isinstance(error, dict) else None
        known["warnings"] = tuple(map(str, warnings)) if isinstance(warnings, list) else ()
        return cls(**known)


@dataclass(frozen=True)
class Page:
    """One page of a list of videos; ``last_id`` is the ``after`` of the next page."""

    data: tuple[Video, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool

    @classmethod
    def read(cls, body: Any) -> "Page":
        """From a server's JSON; KeyError, TypeError or ValueError if it is not a list of videos."""
        data = tuple(Video.read(video) for video in body["data"])
        return cls(data, body.get("first_id"), body.get("last_id"), bool(body.get("has_more")))
