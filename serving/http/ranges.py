"""A file as a response: whole, a byte range, or 304 Not Modified (RFC 9110, sections 13 and 14)."""

import re

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response

from serving.errors import envelope

_RANGE = re.compile(r"^bytes=(\d{0,18})-(\d{0,18})$")


def file_answer(data: bytes, media_type: str, etag: str, name: str, asked: Headers) -> Response:
    """200, 206 for one range, 304 if the caller has the file, 416 for a range past the end.

    Several ranges are answered with the whole file, as the standard allows.
    """
    headers = {
        "etag": etag,
        "accept-ranges": "bytes",
        "cache-control": "private, max-age=3600",
        "content-disposition": f'inline; filename="{name}"',
    }
    known = [tag.strip().removeprefix("W/") for tag in asked.get("if-none-match", "").split(",")]
    if etag in known or known == ["*"]:
        return Response(status_code=304, headers=headers)
    match = _RANGE.match(asked.get("range", "").replace(" ", ""))
    fresh = asked.get("if-range", etag) == etag
    if not match or not fresh or match[1] == match[2] == "":
        return Response(data, media_type=media_type, headers=headers)
    size = len(data)
    if match[1]:
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
    else:
        first, last = max(0, size - int(match[2])), size - 1
    if match[2] and match[1] and int(match[2]) < int(match[1]):  # an invalid range is ignored
        return Response(data, media_type=media_type, headers=headers)
    if first > last:
        body = envelope(416, "range_not_satisfiable", f"The file has {size} bytes: the range begins past its end.")
        return JSONResponse(body, 416, {**headers, "content-range": f"bytes */{size}"})
    headers["content-range"] = f"bytes {first}-{last}/{size}"
    return Response(data[first : last + 1], 206, headers, media_type=media_type)
