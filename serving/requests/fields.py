"""The fields of a request, and the order made from them: every field checked, every default filled in."""

import difflib
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from diffusion.options import Interval, Sampling, SamplingChanges
from models.misfits import superfluous_level
from serving.errors import ApiError, invalid
from serving.generate.models import ServedModel
from serving.jobs.job import Order
from serving.video_api import ExtraParams, VideoRequest

_ROUNDING = 0.01  # seconds as text are rounded
_DIGITS = 5e-4  # our own responses show four digits
_SHOWN = 40  # characters of an invalid value in its error message
_ELSEWHERE = {  # other names of a field, such as the command line's
    "steps": "num_inference_steps",
    "guidance": "guidance_scale",
    "image": "input_reference",
    "negative": "negative_prompt",
    "frames": "num_frames",
    "level": "motion_level",
}
_RULES = {  # with what pydantic tells of the field
    "string_type": "text",
    "string_too_short": "at least 1 character",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "WIDTHxHEIGHT, such as 512x320",
    "literal_error": "{expected}",
    "model_type": "an object",
}


Body = TypeVar("Body", bound=BaseModel)


def read_fields(kind: type[Body], fields: Mapping[str, Any]) -> Body:
    """Check fields; ApiError 400 for the first invalid one."""
    try:
        return kind.model_validate(dict(fields))
    except ValidationError as error:
        raise _explained(kind, error) from None


def _explained(kind: type[BaseModel], error: ValidationError) -> ApiError:
    found = error.errors(include_url=False)
    # An unknown name comes first, as it explains why another is missing.
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    path = [str(part) for part in first["loc"]]
    name = ".".join(path)[:80]
    if first["type"] == "string_unicode":  # for a field name, loc is that of the enclosing object
        return invalid(name or None, f"'{name or 'a name'}': half of a surrogate pair is not valid text.")
    if first["type"] == "extra_forbidden":
        return invalid(name, f"There is no field '{name}'. {_hint(kind, path)}", "unknown_parameter")
    if first["type"] == "missing":
        return invalid(name, f"'{name}' is missing.", "missing_parameter")
    of = ExtraParams if len(path) > 1 else kind
    rule = _numbers(of, path[-1], first["input"]) or _RULES.get(first["type"], "").format(**first.get("ctx", {}))
    if not rule:
        return invalid(name, f"'{name}': {first['msg'].removeprefix('Value error, ')}.")
    else_out = "" if of.model_fields[path[-1]].is_required() else ", or leave it out"
    return invalid(name, f"'{name}' is {_shown(first['input'])}: give {rule}{else_out}.")


def _hint(kind: type[BaseModel], path: Sequence[str]) -> str:
    """Suggest the intended field, or list all."""
    known = list((ExtraParams if path[0] == "extra_params" else kind).model_fields)
    known += ["input_reference"] * (known == list(VideoRequest.model_fields))
    meant = _ELSEWHERE.get(path[-1])
    close = [meant] if meant in known else difflib.get_close_matches(path[-1][:80], known, 1)
    return f"Did you mean '{close[0]}'?" if close else f"There are {', '.join(known)}."


def _numbers(kind: type[BaseModel], name: str, value: Any) -> str | None:
    """The numbers that a field accepts; None if it is not numeric."""
    schema = kind.model_json_schema()["properties"][name]
    bounds = schema.get("anyOf", [schema])[0]
    if "maximum" not in bounds:
        return None
    most = bounds["maximum"]
    low = f"from {bounds['minimum']:g} to" if "minimum" in bounds else f"above {bounds['exclusiveMinimum']:g}, at most"
    what = f"a whole number {low} {most}" if bounds["type"] == "integer" else f"a number {low} {most:g}"
    return what + (", not true or false" if isinstance(value, bool) else "")


def _shown(value: Any) -> str:
    """The start of a plain value, or the kind of any other: responses must not echo odd text."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z]*|-?[0-9]+(\.[0-9]+)?", value):
        return "other text"
    text = json.dumps(value[: 2 * _SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def resolve(request: VideoRequest, model: ServedModel) -> Order:
    """The order for a request and a model; 400 if the model cannot do what it asks for."""
    _check_model(request, model)
    frames, fps = _length(request, model)
    warnings = []
    if frames < model.frames:
        warnings.append(f"{model.id} was trained on videos of {model.frames} frames; fewer may look worse.")
    low, high = model.fps
    if not low <= fps <= high:
        warnings.append(f"{model.id} was trained at {_span(low, high)} frames a second; {fps:g} may look worse.")
    return Order(
        model=model.id,
        prompt=request.prompt,
        seed=secrets.randbelow(2**31) if request.seed is None else request.seed,
        frames=frames,
        fps=fps,
        width=model.width,
        height=model.height,
        sampling=_sampling(request, model),
        negative=request.negative_prompt or "",
        warnings=tuple(warnings),
        image=model.takes_image,
        motion_level=model.default_motion_level if request.motion_level is None else request.motion_level,
    )


def _check_model(request: VideoRequest, model: ServedModel) -> None:
    """Refuse values that are valid in general but not for this model."""
    size, spacing, steps = f"{model.width}x{model.height}", _extra(request).spacing, request.num_inference_steps
    if _size(request) not in (None, size):
        raise invalid("size", f"'size': {model.id} only makes videos of {size} (WIDTHxHEIGHT).", "unsupported_value")
    if spacing is not None and spacing not in model.spacings:
        raise invalid(
            "extra_params.spacing",
            f"'spacing': {model.id} only samples with {' or '.join(model.spacings)} steps.",
            "unsupported_value",
        )
    if _extra(request).eta and not model.takes_eta:
        message = f"'eta': {model.id} does not support noise during sampling: leave it out."
        raise invalid("extra_params.eta", message, "unsupported_value")
    if request.motion_level is not None and not model.takes_motion_level:
        raise invalid("motion_level", superfluous_level(model.id), "unsupported_value")
    if steps is not None and steps > model.max_steps:
        raise invalid(
            "num_inference_steps",
            f"'num_inference_steps': {model.id} has {model.max_steps} steps: give at most that many.",
            "unsupported_value",
        )


def _size(request: VideoRequest) -> str | None:
    """WIDTHxHEIGHT, from ``size`` or from ``width`` and ``height``."""
    if (request.width is None) != (request.height is None):
        missing = "width" if request.width is None else "height"
        raise invalid(missing, "give both 'width' and 'height', or neither.", "missing_parameter")
    sides = None if request.width is None else f"{request.width}x{request.height}"
    if sides is not None and request.size not in (None, sides):
        raise invalid("size", f"'size' is {request.size}, 'width' and 'height' are {sides}: send one.", "contradiction")
    return sides or request.size


def _extra(request: VideoRequest) -> ExtraParams:
    return request.extra_params or ExtraParams()


def _length(request: VideoRequest, model: ServedModel) -> tuple[int, float]:
    """Frames and frames per second, from at most two of seconds, num_frames and fps."""
    frames, fps, seconds = request.num_frames, request.fps, request.seconds
    if seconds is not None and frames is not None and fps is not None and not _near(seconds, frames / fps):
        raise invalid(
            "seconds",
            f"'seconds': {frames} frames at {fps:g} a second are {frames / fps:.4g} seconds, not {seconds:g}. "
            "Leave one of seconds, num_frames and fps out.",
            "contradiction",
        )
    if frames is None:
        wanted = model.frames if seconds is None or fps is None else round(seconds * fps)
        frames = max(1, wanted)
    if frames > model.frames:
        raise invalid(
            "num_frames" if seconds is None else "seconds",
            f"{frames} frames are requested; {model.id} makes up to {model.frames}: give at most that many.",
            "unsupported_value",
        )
    if fps is None:
        fps = model.default_fps if seconds is None else _rate(frames, seconds, model)
    return frames, fps


def _rate(frames: int, seconds: float, model: ServedModel) -> float:
    """A frame rate within the model's range; accepts the rounded values of :func:`serving.jobs.job.video_object`."""
    low, high = model.fps
    fps = min(high, max(low, frames / seconds))
    if not _near(seconds, frames / fps):
        raise invalid(
            "seconds",
            f"'seconds': {frames} frames in {seconds:g} seconds are {frames / seconds:.3g} a second; {model.id} "
            f"supports {_span(low, high)}, so {frames} frames last {_span(frames / high, frames / low)} seconds: "
            "give that, or leave seconds out.",
            "unsupported_value",
        )
    return fps


def _span(low: float, high: float) -> str:
    first, last = f"{low:.4g}", f"{high:.4g}"
    return first if first == last else f"{first} to {last}"


def _near(given: float, exact: float) -> bool:
    return abs(given - exact) <= max(_ROUNDING, _DIGITS * exact)


def _sampling(request: VideoRequest, model: ServedModel) -> Sampling:
    """The model's sampling options with the request's changes."""
    extra = _extra(request)
    changes = SamplingChanges(
        steps=request.num_inference_steps,
        guidance=request.guidance_scale,
        guidance_rescale=extra.guidance_rescale,
        eta=extra.eta,
        spacing=extra.spacing,
        guidance_interval=_interval(extra, model),
    )
    return changes.of(model.defaults)


def _interval(extra: ExtraParams, model: ServedModel) -> Interval:
    """The noise levels at which guidance is applied; the model's own where the request names none."""
    low, high = model.defaults.guidance_interval
    low = low if extra.guidance_from is None else extra.guidance_from
    high = high if extra.guidance_to is None else extra.guidance_to
    if low >= high:
        raise invalid(
            "extra_params.guidance_from",
            f"'guidance_from' is {low:g}, 'guidance_to' {high:g}: the first must be below the second.",
            "contradiction",
        )
    return low, high
