"""Errors of requests, and their envelope: ``{"error": {message, type, param, code}}``."""

from typing import Any

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}


class ApiError(Exception):
    """An error response.

    ``code`` is machine-readable, ``param`` names the field at fault; ``retry_after`` is in seconds, for 429 and 503.
    """

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.headers: dict[str, str] = {} if retry_after is None else {"retry-after": str(retry_after)}
        if status == 401:
            self.headers["www-authenticate"] = "Bearer"
        if status == 409:  # a retry would get the same response
            self.headers["x-should-retry"] = "false"

    def body(self) -> dict[str, Any]:
        """The JSON envelope."""
        return envelope(self.status, self.code, self.message, self.param)


def envelope(status: int, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    """The JSON body of an error with this status."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def invalid(param: str | None, message: str, code: str = "invalid_value") -> ApiError:
    """400: a field breaks a rule."""
    return ApiError(400, code, message, param)


def storage_unavailable() -> ApiError:
    """503: the database or the folder is unavailable at the moment."""
    message = "The server's storage is unavailable: try again later. See the server's log for details."
    return ApiError(503, "storage_unavailable", message, retry_after=10)


def not_found(video_id: str) -> ApiError:
    """404: there is no such video, or it belongs to another caller."""
    return ApiError(404, "video_not_found", f"There is no video '{video_id[:80]}': it was deleted, or it has expired.")
