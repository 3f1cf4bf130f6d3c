"""URIs: local or remote, and their file systems."""

import contextlib
import os
import re
from functools import lru_cache
from pathlib import Path

import pyarrow.fs as pafs

from base.errors import StorageError
from base.storage.retries import s3_filesystem

_SCHEME = re.compile(r"^([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
# After a user and a colon, up to the last @: also where a URL is malformed, or its password has such characters.
_PASSWORD = re.compile(r"^([^:@/]+://[^:@]*|(?![^:@/]+://)(?:[^:@/]+:)?[^:@]*):.*@")
_IN_QUERY = re.compile(r"([?&](?:password|sslpassword|x-amz-(?:signature|credential|security-token))=)[^&#]*", re.I)


def is_remote(uri: str) -> bool:
    """Whether ``uri`` names an object store (``s3://`` and the like) rather than a local path."""
    scheme = _SCHEME.match(uri)
    return scheme is not None and scheme[1].lower() != "file"


def local_path(uri: str) -> Path:
    """The absolute local path behind a plain path or a ``file://`` URI."""
    path = Path(uri.removeprefix("file://"))
    with contextlib.suppress(RuntimeError):  # a file may be named ~x without a user x
        path = path.expanduser()
    path = path.absolute()
    return path.resolve() if ".." in path.parts else path


@lru_cache(maxsize=64)
def filesystem(root: str) -> pafs.FileSystem:
    """The pyarrow file system for a URI root such as ``s3://bucket`` (``""``: local); one client per process."""
    if not root:
        return pafs.LocalFileSystem()
    scheme = root.split("://", 1)[0].lower()
    if scheme == "s3":
        return s3_filesystem(
            region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
            endpoint_override=os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
            connect_timeout=10,
            request_timeout=60,
        )
    try:
        import fsspec

        return pafs.PyFileSystem(pafs.FSSpecHandler(fsspec.filesystem(scheme)))
    except (ImportError, ValueError) as error:
        raise StorageError(
            f"{root}: no file system for '{scheme}://' is installed ({error}); "
            "install the fsspec package for it, or use a local path or s3://."
        ) from error


def split(uri: str) -> tuple[pafs.FileSystem, str]:
    """The file system of ``uri`` and the path on it."""
    if not is_remote(uri):
        return filesystem(""), str(local_path(uri))
    scheme, rest = uri.split("://", 1)
    return filesystem(f"{scheme}://{rest.split('/', 1)[0]}"), rest.rstrip("/")


def without_password(url: str) -> str:
    """A URL as messages and logs may show it."""
    return _IN_QUERY.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))
