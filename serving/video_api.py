"""The types of the video API: the fields of a request and of a video. The server, its OpenAPI document and the client
use these, so a new field is declared here; :mod:`serving.requests.fields` says what it does.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal, TypedDict

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from diffusion.options import MOTION_LEVELS

MAX_SEED = 2**63 - 1
MAX_TEXT = 32_000  # characters
MAX_FRAMES = 10_000  # for any model
MAX_STEPS = 200  # for any model; a shorter schedule allows fewer
MAX_GUIDANCE = 20.0
NUMBER_AS_TEXT = r"^-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?$"

Status = Literal["queued", "in_progress", "completed", "failed"]
Stage = Literal["queued", "encoding", "denoising", "decoding", "done"]
# In an OpenAPI document, what a server always sends is required.
_ALL_SENT = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=True)


def _plain(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair is not valid text") from None
    if "\0" in text:
        raise ValueError("a NUL character is not valid text")
    return text


def _number(value: Any) -> Any:
    """Check numbers given as text, as in multipart bodies; float() would also accept 1_0 and infinity."""
    if isinstance(value, bool):
        raise ValueError("a number, not true or false")
    if isinstance(value, str) and not re.fullmatch(NUMBER_AS_TEXT, value):
        raise ValueError("a number, such as 8 or 7.5")
    return value


# After the bounds in Annotated, so that the OpenAPI document includes them.
Text, Number = AfterValidator(_plain), BeforeValidator(_number)
Words = Annotated[str, Field(max_length=MAX_TEXT), Text]
Prompt = Annotated[str, Field(min_length=1, max_length=MAX_TEXT), Text]


class ExtraParams(BaseModel):
    """Rarely needed sampler settings.

    ``guidance_from`` and ``guidance_to`` are the noise levels between which guidance is applied, 0 the clip, 1 noise.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    guidance_rescale: Annotated[float, Field(ge=0, le=1), Number] | None = None
    eta: Annotated[float, Field(ge=0, le=1), Number] | None = None
    spacing: Literal["leading", "trailing"] | None = None
    guidance_from: Annotated[float, Field(ge=0, le=1), Number] | None = None
    guidance_to: Annotated[float, Field(ge=0, le=1), Number] | None = None


class VideoRequest(BaseModel):
    """The fields of ``POST /v1/videos`` except the picture."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    prompt: Prompt
    model: Annotated[str, Text] | None = None
    seconds: Annotated[float, Field(gt=0, le=600), Number] | None = None
    size: Annotated[str, Field(pattern=r"^[0-9]{1,5}x[0-9]{1,5}$")] | None = None
    width: Annotated[int, Field(ge=1, le=99_999), Number] | None = None
    height: Annotated[int, Field(ge=1, le=99_999), Number] | None = None
    num_frames: Annotated[int, Field(ge=1, le=MAX_FRAMES), Number] | None = None
    fps: Annotated[float, Field(ge=0.1, le=240), Number] | None = None
    num_inference_steps: Annotated[int, Field(ge=1, le=MAX_STEPS), Number] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=MAX_GUIDANCE), Number] | None = None
    negative_prompt: Words | None = None
    motion_level: Annotated[int, Field(ge=1, le=MOTION_LEVELS), Number] | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED), Number] | None = None
    extra_params: ExtraParams | None = None
    user: Words | None = None
    """Ignored; clients send it for billing."""


class RemixRequest(BaseModel):
    """The fields of ``POST /v1/videos/{id}/remix``."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    prompt: Prompt


class VideoSettings(TypedDict, total=False):
    """Optional settings of a request; the model's default applies to what is missing or None.

    ``seconds`` is the clip's length, an alternative to ``num_frames`` at ``fps``. Requests with the same
    ``idempotency_key`` create one video; by default each call uses a new random key.
    """

    model: str | None
    seed: int | None
    num_frames: int | None
    fps: float | None
    seconds: float | str | None
    size: str | None
    num_inference_steps: int | None
    guidance_scale: float | None
    negative_prompt: str | None
    motion_level: int | None
    extra_params: Mapping[str, object] | None
    idempotency_key: str | None


@dataclass(frozen=True)
class Failure:
    """Why a video was not generated."""

    __pydantic_config__: ClassVar[ConfigDict] = _ALL_SENT

    code: str
    message: str


@dataclass(frozen=True)
class Video:
    """A job and its state.

    Times are seconds since 1970, ``seconds`` is the clip's length, ``progress`` in percent; ``queue_position`` counts
    from 0. Fields that a server does not send are None or empty.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _ALL_SENT

    id: str
    status: Status
    object: Literal["video"] = "video"
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
    stage: Stage | None = None
    inference_time_s: float | None = None
    warnings: tuple[str, ...] = ()
    num_frames: int | None = None
    fps: float | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    negative_prompt: str | None = None
    motion_level: int | None = None

    @property
    def done(self) -> bool:
        """Whether the job has ended."""
        return self.status in ("completed", "failed")

    def to_dict(self) -> dict[str, Any]:
        """As the server sends it: every key is always present."""
        return asdict(self)

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

    __pydantic_config__: ClassVar[ConfigDict] = _ALL_SENT

    data: tuple[Video, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"

    def to_dict(self) -> dict[str, Any]:
        """As the server sends it."""
        return asdict(self)

    @classmethod
    def read(cls, body: Any) -> "Page":
        """From a server's JSON; KeyError, TypeError or ValueError if it is not a list of videos."""
        data = tuple(Video.read(video) for video in body["data"])
        return cls(data, body.get("first_id"), body.get("last_id"), bool(body.get("has_more")))
