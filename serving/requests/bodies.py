"""Parses a request body (multipart form, URL-encoded form or JSON) into fields and the picture."""

import base64
import binascii
import json
import re
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from serving.errors import ApiError, invalid

_KEY = re.compile(r"^([^\[\]]+)((?:\[[^\[\]]*\])*)$")
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]*)", re.IGNORECASE)
_URL = re.compile(r"(?:data:|https?://)", re.IGNORECASE)
_MAX_FIELDS, _MAX_FIELD_BYTES, _MAX_DEPTH = 64, 4 << 20, 4
_MAX_VALUES = 100_000  # of a JSON body, counting commas in prompts: a one-byte bracket takes 64 bytes once parsed
_PICTURE = "input_reference"
_OTHER_NAME = "image_reference"  # the same field in vLLM-Omni's and SGLang's clients
_STEP = 1 << 20  # bytes of base64, a multiple of four


@dataclass
class Body:
    """A parsed body. ``picture`` holds the bytes of an upload or data: URL, ``url`` any other URL."""

    fields: dict[str, Any] = field(default_factory=dict)
    picture: bytes | None = None
    url: str | None = None

    @property
    def has_picture(self) -> bool:
        """Whether a picture is given, in either way."""
        return self.picture is not None or self.url is not None


async def read_body(request: Request) -> Body:
    """Read a body; 400 if it is malformed, 415 for any other content type."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "multipart/form-data":
            return await _read_form(request)
        if kind == "application/json":
            return await run_in_threadpool(_from_json, await request.body())
        if kind == "application/x-www-form-urlencoded":
            return await run_in_threadpool(_from_urlencoded, await request.body())
    except ClientDisconnect:  # nobody receives this response
        raise ApiError(400, "client_disconnected", "The connection ended before the body did.") from None
    raise ApiError(
        415,
        "unsupported_media_type",
        f"A body of type '{kind[:80] or 'none'}' is not supported: send multipart/form-data, application/json or "
        "application/x-www-form-urlencoded.",
    )


def _from_json(data: bytes) -> Body:
    return _take_reference(_parse_json(data))


def _from_urlencoded(data: bytes) -> Body:
    """A form without a file; its picture is given as a URL."""
    try:
        pairs = parse_qsl(data.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:  # not UTF-8, or too many fields
        raise invalid(None, "The form is not URL-encoded UTF-8, or has too many fields.", "invalid_form") from None
    return _take_reference(nest(pairs))


def _parse_json(data: bytes, param: str | None = None) -> dict[str, Any]:
    what = f"'{param}'" if param else "The body"
    if sum(map(data.count, (b"[", b"{", b","))) > _MAX_VALUES:
        raise invalid(param, f"{what} has too many values.", "invalid_json")
    try:
        read = json.loads(data)
    except (ValueError, RecursionError):  # also for bytes that are not UTF-8, and numbers of thousands of digits
        raise invalid(param, f"{what} is not valid JSON.", "invalid_json") from None
    if not isinstance(read, dict):
        raise invalid(param, f"{what} must be a JSON object.", "invalid_json")
    return read


class _Parser(MultiPartParser):
    """Records whether the final boundary arrived: without it, fields may be missing unnoticed."""

    ended = False

    def on_end(self) -> None:
        self.ended = True


async def _read_form(request: Request) -> Body:
    charset = _CHARSET.search(request.headers["content-type"])
    if charset and charset[1].lower() not in ("utf-8", "utf8"):
        raise _broken("Its charset must be UTF-8.")

    async def complete() -> AsyncGenerator[bytes, None]:
        async for chunk in request.stream():
            yield chunk
        if not parser.ended:  # raised here, so that the parser closes its files
            raise MultiPartException("Its last boundary is missing.")

    parser = _Parser(request.headers, complete(), max_files=1, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise _broken(error.message) from None
    except ValueError:  # a header that the parser cannot handle
        raise _broken("It is malformed.") from None
    try:
        return await _from_form(form)
    finally:
        await form.close()


def _broken(why: str) -> ApiError:
    return invalid(None, f"The multipart body cannot be read: {why}", "invalid_multipart")


async def _from_form(form: FormData) -> Body:
    texts, picture = [], None
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name not in (_PICTURE, _OTHER_NAME):
                raise invalid(name[:80], f"'{name[:80]}': a file must be sent as '{_PICTURE}'.", "unknown_parameter")
            picture = await value.read()
        else:
            texts.append((name, value))
    body = await run_in_threadpool(lambda: _take_reference(nest(texts)))
    if picture is not None and (body.picture is not None or body.url is not None):
        raise invalid(_PICTURE, f"'{_PICTURE}' is given twice: as a file and as a URL.", "contradiction")
    body.picture = body.picture if picture is None else picture
    return body


def nest(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Form fields as nested values: ``a[b]=1`` is ``{"a": {"b": "1"}}``, ``c[]=2`` is ``{"c": ["2"]}``."""
    out: dict[str, Any] = {}
    for name, text in pairs:
        match = _KEY.match(name)
        steps = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])] if match else [name]
        if len(steps) > _MAX_DEPTH:
            raise invalid(name[:80], f"'{name[:80]}' is nested too deeply.")
        _place(out, steps, text, name)
    for name, value in out.items():
        as_json = name == "extra_params" or (name in (_PICTURE, _OTHER_NAME) and _is_object(value))
        if isinstance(value, str) and as_json:  # as some clients send it
            out[name] = _parse_json(value.encode(), name)
    return out


def _is_object(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip().startswith("{")


def _place(out: dict[str, Any], steps: list[str], text: str, name: str) -> None:
    here: Any = out
    if "" in steps[:-1]:
        raise invalid(name[:80], f"'{name[:80]}': empty brackets must come last.")
    for step, after in pairwise(steps):
        here = here.setdefault(step, [] if after == "" else {})
        if not isinstance(here, list if after == "" else dict):
            raise invalid(name[:80], f"'{name[:80]}' is given twice, in two forms.")
    if isinstance(here, list):
        here.append(text)
    elif steps[-1] in here:
        raise invalid(name[:80], f"'{name[:80]}' is given twice.")
    else:
        here[steps[-1]] = text


def _take_reference(fields: dict[str, Any]) -> Body:
    body = Body({name: value for name, value in fields.items() if name not in (_PICTURE, _OTHER_NAME)})
    given = {name: fields[name] for name in (_PICTURE, _OTHER_NAME) if fields.get(name) is not None}
    if len(given) > 1:
        raise invalid(_PICTURE, f"'{_PICTURE}' and '{_OTHER_NAME}' are the same field: send one.", "contradiction")
    for name, reference in given.items():
        url = reference.get("image_url") if isinstance(reference, dict) and set(reference) == {"image_url"} else None
        if isinstance(reference, str) and _URL.match(reference):
            url = reference
        if not isinstance(url, str):
            raise invalid(
                name,
                f"'{name}' must be a file of a multipart body, a data: URL, or "
                '{"image_url": "data:image/png;base64,…"}.',
            )
        if url[:5].lower() == "data:":
            body.picture = _from_data_url(url)
        else:
            body.url = url
    return body


def _from_data_url(url: str) -> bytes:
    head, comma, data = url.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise invalid(_PICTURE, f"'{_PICTURE}': a data: URL must be base64-encoded.", "invalid_image")
    try:
        return b"".join(_decoded(data))
    except (binascii.Error, ValueError):
        raise invalid(_PICTURE, f"'{_PICTURE}': the data: URL is not valid base64.", "invalid_image") from None


def _decoded(text: str) -> Iterator[bytes]:
    """Decode in pieces: a single call would hold the GIL for a quarter of a second."""
    for start in range(0, len(text), _STEP):
        piece = text[start : start + _STEP]
        found = base64.b64decode(piece, validate=True)
        if start + _STEP < len(text) and len(found) * 4 != len(piece) * 3:
            raise ValueError("padding before the end")
        yield found
