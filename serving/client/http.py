"""HTTP requests of the client: retries, and errors as one sentence."""

import contextlib
import itertools
import random
import ssl
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2

from base.errors import InputError, MotifError
from base.storage.uri import without_password

Answer = TypeVar("Answer")
_FAULTS = 4  # attempts that may end in a lost connection or a server error
_FIRST_PAUSE_S = 0.25  # doubled after each fault
_BUSY_PAUSE_S = 1.0  # when a busy server sends no Retry-After
_SPREAD = 0.25  # jitter: clients that were refused together should not retry together
_LONGEST_MESSAGE = 300


class ServerError(MotifError):
    """A server failed, cannot be reached, or did not generate the video.

    ``status`` is the HTTP status, None without a response; ``code`` is machine-readable, ``param`` names the field
    at fault, ``retry_after`` is the delay in seconds that the server asks for.
    """

    exit_code = 7

    def __init__(self, message: str, code: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.message, self.code, self.status = message, code, status
        self.param: str | None = None
        self.retry_after: float | None = None


class RefusedError(ServerError):
    """The server refused a request for a reason that the caller can fix: a wrong field, key or id."""

    exit_code = 2


class Http:
    """Connections to one server.

    A request is retried a few times after a lost connection or a server error, and for ``patience`` seconds while the
    server is busy. It may therefore arrive twice, which is why a POST carries an idempotency key.
    """

    def __init__(
        self, url: str, key: str | None, timeout: float, patience: float, on_retry: Callable[[str], None]
    ) -> None:
        url = url.rstrip("/").removesuffix("/v1")
        self.url, self.timeout = without_password(url), timeout
        self._patience, self._on_retry = patience, on_retry
        try:
            base = httpx2.URL(url)
            if base.scheme not in ("http", "https") or not base.host:
                raise httpx2.InvalidURL("it must begin with http:// or https:// and name a host")
        except httpx2.InvalidURL as error:
            raise InputError(f"url '{self.url}': {error}; give one such as http://127.0.0.1:8000.") from error
        if key and not (key.isascii() and key.isprintable()):
            raise InputError("key: it has characters that are not allowed in an HTTP header; copy it again.")
        self.open = httpx2.Client(
            base_url=base, headers={"authorization": f"Bearer {key}"} if key else {}, timeout=timeout
        )

    def request(self, method: str, path: str, **content: Any) -> httpx2.Response:
        """Send with retries; raises ServerError when no attempt succeeds."""
        return self.repeat(lambda _: self.once(method, path, **content))

    def once(self, method: str, path: str, **content: Any) -> httpx2.Response:
        """Send once, without retries."""
        with self.explained():
            response = self.open.request(method, path, **content)
            check(response)
            return response

    def repeat(self, attempt: Callable[[int], Answer]) -> Answer:
        """Call ``attempt`` with its number, from 0, until it succeeds or a retry cannot help."""
        ends = time.monotonic() + self._patience
        faults = 0
        for number in itertools.count():
            try:
                return attempt(number)
            except ServerError as error:
                busy = error.status in (429, 503)
                faults += not busy
                hopeless = isinstance(error, RefusedError) or error.code == "untrusted" or faults == _FAULTS
                pause = _BUSY_PAUSE_S if busy else _FIRST_PAUSE_S * 2 ** (faults - 1)
                if error.retry_after is not None:
                    pause = error.retry_after
                if hopeless or time.monotonic() + pause > ends:
                    raise
                self._on_retry(f"{error.message} Trying again in {round(pause, 1):g} s.")
                time.sleep(pause * random.uniform(1, 1 + _SPREAD))
        raise AssertionError("unreachable")

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turn transport errors into ServerError with one sentence."""
        try:
            yield
        except httpx2.TimeoutException as error:
            raise ServerError(f"{self.url} sent nothing for {self.timeout:g} s.", "timeout") from error
        except httpx2.RequestError as error:
            if tls := _tls_fault(error):
                raise ServerError(
                    f"{self.url} is not trusted ({tls}): check the address, or name its certificate in SSL_CERT_FILE.",
                    "untrusted",
                ) from error
            raise ServerError(
                f"{self.url} cannot be reached ({str(error) or type(error).__name__}): is it the server's address, and "
                "is the server running?",
                "unreachable",
            ) from error

    def read(self, parse: Callable[[Any], Answer], response: httpx2.Response) -> Answer:
        """Parse the JSON of a response; raises ServerError when it is not the expected one."""
        try:
            return parse(response.json())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ServerError(
                f"{self.url} did not answer like the video API ({error}): is it the server's address?",
                "not_understood",
                response.status_code,
            ) from error


def check(response: httpx2.Response) -> None:
    """Raise ServerError for a response that is not 2xx, from its error envelope or else from its text."""
    if response.is_success:
        return
    response.read()
    status = response.status_code
    error_fields = _envelope(response)
    text = " ".join(response.text.split())[:_LONGEST_MESSAGE] or "nothing more"
    where = f" and points to {response.headers['location']}" if "location" in response.headers else ""
    answer = f"{without_password(str(response.url))} answers {status} {response.reason_phrase}{where}: {text}"
    message = error_fields.get("message") or answer
    mendable = status < 500 and status not in (408, 429)
    error = (RefusedError if mendable else ServerError)(str(message), error_fields.get("code"), status)
    error.param, error.retry_after = error_fields.get("param"), _retry_after(response)
    raise error


def _envelope(response: httpx2.Response) -> dict[str, Any]:
    try:
        error_fields = response.json()["error"]
    except (ValueError, KeyError, TypeError):  # a proxy's page, or Ray's own plain text
        return {}
    return error_fields if isinstance(error_fields, dict) else {}


def _retry_after(response: httpx2.Response) -> float | None:
    """Seconds, from a Retry-After header that holds seconds or a date."""
    wait = response.headers.get("retry-after", "")
    try:
        return max(0.0, float(wait))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(wait).timestamp() - time.time())
    except ValueError:
        return None


def _tls_fault(error: BaseException | None) -> str:
    """The reason of a TLS failure; empty when TLS is not the cause of the error."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error.reason or str(error)
        error = error.__cause__ or error.__context__
    return ""
