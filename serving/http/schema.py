"""The responses of the API, for its OpenAPI document."""

from typing import Any, Literal

from pydantic import BaseModel

from serving.generate.models import Models, Need
from serving.video_api import NUMBER_AS_TEXT, RemixRequest, VideoRequest

# The rule of serving.requests.fields._size. In JSON, null is the same as a missing field.
_NULL, _GIVEN = {"type": "null"}, {"type": ["integer", "string"]}
_SIDES_TOGETHER = {
    "anyOf": [
        {"properties": {"width": _NULL, "height": _NULL}},
        {"properties": {"width": _GIVEN, "height": _GIVEN}, "required": ["width", "height"]},
    ]
}
_FORM_SIDES_TOGETHER = {"dependentRequired": {"width": ["height"], "height": ["width"]}}


class ErrorBody(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorAnswer(BaseModel):
    """The body of every error."""

    error: ErrorBody


class DeletedAnswer(BaseModel):
    """A deleted video."""

    id: str
    object: Literal["video.deleted"]
    deleted: Literal[True]


def create_body(models: Models) -> dict[str, Any]:
    """The ``requestBody`` of creating a video by one of the models, as multipart and as JSON."""
    fields = VideoRequest.model_json_schema()
    if not models.takes_motion_level:
        del fields["properties"]["motion_level"]
    extra = fields.pop("$defs")["ExtraParams"]
    _take_text(fields)
    _take_text(extra)
    fields["properties"]["extra_params"] = {"anyOf": [extra, {"type": "null"}]}
    url = {
        "type": "object",
        "properties": {"image_url": {"type": "string", "description": "data:image/png;base64,... or https://..."}},
        "required": ["image_url"],
        "additionalProperties": False,
    }
    need = models.input_reference
    as_json = _with(fields, url, need) | _SIDES_TOGETHER
    picture = {"type": "string", "format": "binary", "description": "A PNG, JPEG or WebP file"}
    as_form = _with(_without_null(fields), picture, need) | _FORM_SIDES_TOGETHER
    return _body({"multipart/form-data": {"schema": as_form}, "application/json": {"schema": as_json}})


def _take_text(fields: dict[str, Any]) -> None:
    """Allow numbers as text."""
    for one in fields["properties"].values():
        kinds = one.get("anyOf", [])
        if any(kind.get("type") in ("integer", "number") for kind in kinds):
            kinds.append({"type": "string", "pattern": NUMBER_AS_TEXT})


def remix_body() -> dict[str, Any]:
    """The ``requestBody`` of remixing a video."""
    return _body({"application/json": {"schema": RemixRequest.model_json_schema()}})


def _without_null(fields: dict[str, Any]) -> dict[str, Any]:
    """Without null, which a form cannot express."""
    properties = dict(fields["properties"])
    for name, one in properties.items():
        kinds = [kind for kind in one.get("anyOf", []) if kind.get("type") != "null"]
        properties[name] = {**one, "anyOf": kinds} if kinds else one
    return {**fields, "properties": properties}


def _with(fields: dict[str, Any], reference: dict[str, Any], need: Need) -> dict[str, Any]:
    if need == "none":
        return fields
    required = [*fields["required"], *(["input_reference"] if need == "required" else [])]
    return {**fields, "properties": {**fields["properties"], "input_reference": reference}, "required": required}


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}
