"""Retries for object stores: with exponential, jittered pauses, for up to two minutes.

The AWS SDK retries each request several times. Requests that still fail, or that the SDK does not retry (a HEAD, whose
response has no reason; an error longer than the requested range), are retried here, if they are idempotent: reading a
file, or writing it as a whole.

A store that is overloaded is waited for. One that cannot be reached is waited for only if it has answered this process
before: then a connection is lost, and otherwise the address is most likely wrong, which should be said at once.
"""

import io
import random
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

Result = TypeVar("Result")
_OVERLOADED = re.compile(
    r"(HTTP status|response code) (429|5(?!07)\d\d)|slow.?down|service.?unavailable|internal.?(failure|error)"
    r"|throttl|request.?timeout|too.?many.?requests|\(reached max retries",
    re.IGNORECASE,
)
_UNREACHABLE = re.compile(
    r"NETWORK_CONNECTION|curlCode|Could(n't| not) connect|Connection(Reset|Closed|Error)|EndpointConnection"
    r"|(Read|Connect)Timeout",
    re.IGNORECASE,
)
_PATIENCE_S = 120.0
_FIRST_S, _LONGEST_S = 0.1, 8.0
_IN_MEMORY = 64 << 20
_CHUNK = 16 << 20


def is_overloaded(error: OSError) -> bool:
    """Whether an error means that the store is overloaded."""
    return _OVERLOADED.search(str(error)) is not None


def is_unreachable(error: OSError) -> bool:
    """Whether an error means that there was no connection to the store, or that it was lost."""
    return _UNREACHABLE.search(str(error)) is not None


def retry(
    action: Callable[[], Result], store: "RetryingStore | None" = None, patience_s: float = _PATIENCE_S
) -> Result:
    """Call ``action``, retried while the store is overloaded or, if it has answered before, cannot be reached.

    Raises the last OSError after ``patience_s``. Pauses are drawn from 0 to a doubling bound, so that many clients do
    not retry at once.
    """
    end, bound = time.monotonic() + patience_s, _FIRST_S
    while True:
        try:
            result = action()
        except OSError as error:
            unreachable = is_unreachable(error)
            passes = is_overloaded(error) or (unreachable and store is not None and store.answered)
            if store is not None and not unreachable:
                store.answered = True
            if not passes or time.monotonic() > end:
                raise
        else:
            if store is not None:
                store.answered = True
            return result
        time.sleep(random.uniform(0, bound))
        bound = min(2 * bound, _LONGEST_S)


def s3_filesystem(**options: Any) -> pafs.FileSystem:
    """S3 with retries; ``options`` are those of :class:`pyarrow.fs.S3FileSystem`."""
    return pafs.PyFileSystem(RetryingStore(options))


def retrying_store(fs: pafs.FileSystem) -> "RetryingStore | None":
    """What retries the operations of a file system; None if nothing does."""
    handler = fs.handler if isinstance(fs, pafs.PyFileSystem) else None
    return handler if isinstance(handler, RetryingStore) else None


def direct(fs: pafs.FileSystem) -> pafs.FileSystem:
    """The file system without this module's retries, for operations that are retried as a whole."""
    store = retrying_store(fs)
    return fs if store is None else store.store


class RetryingStore(pafs.FileSystemHandler):  # type: ignore[misc] # pyarrow has no types
    """:class:`pyarrow.fs.S3FileSystem` with retries of every operation. Picklable; equal if the options are."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.answered = False
        """Whether the store has answered this process."""
        # The SDK's pauses double from 25 ms: seven attempts take three seconds.
        retries = pafs.AwsDefaultS3RetryStrategy(max_attempts=7)
        # Writes small files by one PUT instead of three requests.
        self.store = pafs.S3FileSystem(retry_strategy=retries, allow_delayed_open=True, **options)

    def __reduce__(self) -> "tuple[type[RetryingStore], tuple[dict[str, Any]]]":
        return RetryingStore, (self.options,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RetryingStore) and self.options == other.options

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.options)))

    def _retry(self, action: Callable[[], Result]) -> Result:
        return retry(action, self)

    def get_type_name(self) -> str:
        """The type name for error messages."""
        return "s3"

    def normalize_path(self, path: str) -> str:
        """The normalised path."""
        return str(self.store.normalize_path(path))

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        """Information about these paths."""
        return list(self._retry(lambda: self.store.get_file_info(paths)))

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        """Information about a folder's content."""
        return list(self._retry(lambda: self.store.get_file_info(selector)))

    def create_dir(self, path: str, recursive: bool) -> None:
        """Create a folder."""
        self._retry(lambda: self.store.create_dir(path, recursive=recursive))

    def delete_dir(self, path: str) -> None:
        """Delete a folder and its content."""
        self._retry(lambda: self.store.delete_dir(path))

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        """Delete the content of a folder."""
        self._retry(lambda: self.store.delete_dir_contents(path, missing_dir_ok=missing_dir_ok))

    def delete_root_dir_contents(self) -> None:
        """Not used."""
        raise NotImplementedError

    def delete_file(self, path: str) -> None:
        """Delete a file."""
        self._retry(lambda: self.store.delete_file(path))

    def move(self, source: str, target: str) -> None:
        """Move a file."""
        self.store.move(source, target)

    def copy_file(self, source: str, target: str) -> None:
        """Copy a file."""
        self._retry(lambda: self.store.copy_file(source, target))

    def open_input_stream(self, path: str) -> pa.NativeFile:
        """A file for sequential reads."""
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> pa.NativeFile:
        """A file for random access."""
        return pa.PythonFile(_Reader(self, path), mode="r")

    def open_output_stream(self, path: str, metadata: dict[str, str] | None) -> pa.NativeFile:
        """A file to write, which is stored atomically on close."""
        return pa.PythonFile(_Writer(self, path), mode="w")

    def open_append_stream(self, path: str, metadata: dict[str, str] | None) -> pa.NativeFile:
        """Objects cannot be appended to."""
        raise NotImplementedError


class _Reader(io.RawIOBase):
    """A file with retried reads."""

    def __init__(self, store: RetryingStore, path: str) -> None:
        self.store, self.at = store, 0
        self.file = retry(lambda: store.store.open_input_file(path), store)
        self.length = self.file.size()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + (0, self.at, self.length)[whence]
        return self.at

    def size(self) -> int:
        return int(self.length)

    def read(self, count: int | None = -1) -> bytes:
        left = max(0, self.length - self.at)
        wanted = left if count is None or count < 0 else min(count, left)
        if not wanted:
            return b""
        at = self.at
        data: bytes = retry(lambda: self.file.read_at(wanted, at), self.store)
        self.at += len(data)
        return data

    def close(self) -> None:
        if not self.closed:
            self.file.close()
        super().close()


class _Writer(io.RawIOBase):
    """A file that is buffered locally and uploaded on close."""

    def __init__(self, store: RetryingStore, path: str) -> None:
        self.store, self.path = store, path
        self.kept = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed with this

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self.kept.write(data)

    def tell(self) -> int:
        return self.kept.tell()

    def close(self) -> None:
        if not self.closed:
            super().close()
            with self.kept:
                retry(self._send, self.store)

    def _send(self) -> None:
        self.kept.seek(0)
        with self.store.store.open_output_stream(self.path) as sink:
            shutil.copyfileobj(self.kept, sink, _CHUNK)
