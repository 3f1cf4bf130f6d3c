"""Explains errors of disks and object stores in one sentence with a remedy."""

import contextlib
import errno
import re
from collections.abc import Iterator
from typing import NoReturn

import pyarrow.fs as pafs

from base.errors import StorageError
from base.storage.uri import is_remote, split

_NO_BUCKET = "the bucket does not exist: create it, or correct its name"
# Error text of an object store -> remedy; matched in order.
_STORE_ERRORS = (
    (
        # Of MinIO, Ceph and others; AWS has no limit.
        r"StorageFull|Quota.?Exceeded|InsufficientStorage|HTTP status 507",
        "the bucket is full: free space and run the same command again; what was written is kept",
    ),
    (r"NO_SUCH_BUCKET|NoSuchBucket", _NO_BUCKET),
    (r"expired", "the credentials have expired: renew them (for example `aws sso login`) and run again"),
    (
        r"INVALID_ACCESS_KEY|InvalidAccessKey|SignatureDoesNotMatch|SIGNATURE_DOES_NOT_MATCH",
        "the credentials are not valid here: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL",
    ),
    (r"ACCESS_DENIED|AccessDenied|HTTP response code 403|Forbidden", "access is denied to these credentials"),
    (
        r"SLOW_?DOWN|SERVICE_?UNAVAILABLE|INTERNAL_?FAILURE|INTERNAL_?ERROR|HTTP status 5\d\d|reached max retries",
        "the object store is overloaded and did not answer for two minutes: run the same command again later",
    ),
    (
        r"NETWORK_CONNECTION|curlCode|Could(n't| not) connect|EndpointConnectionError|Connection(Reset|Closed)",
        "the object store does not answer: check the network and AWS_ENDPOINT_URL",
    ),
)
_DISK_ERRORS = {
    errno.ENOSPC: "the disk is full: free space and run the same command again; what was written is kept",
    errno.EDQUOT: "the disk quota is used up: free space and run the same command again; what was written is kept",
    errno.EROFS: "the file system is read-only: choose another place",
    errno.EACCES: "permission denied: choose another place or correct its permissions",
    errno.EPERM: "permission denied: choose another place or correct its permissions",
    errno.EEXIST: "a file with that name exists: remove it, or choose another place",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
}


def explain(error: OSError, uri: str) -> StorageError | None:
    """The explanation of an error of the store itself, or None if it concerns one file."""
    if error.errno in _DISK_ERRORS:
        return StorageError(f"{uri}: {_DISK_ERRORS[error.errno]}.")
    if isinstance(error, FileNotFoundError) and is_remote(uri) and not _bucket_exists(uri):
        return StorageError(f"{uri}: {_NO_BUCKET}.")
    if not is_remote(uri):
        return None
    text = _with_body(str(error), uri)
    for pattern, remedy in _STORE_ERRORS:
        if re.search(pattern, text, re.IGNORECASE):
            return StorageError(f"{uri}: {remedy}.")
    return StorageError(f"{uri}: {text.splitlines()[0]}") if "AWS Error" in text else None


def _with_body(text: str, uri: str) -> str:
    """The reason of an error; responses to HEAD requests have none, so send another request to get it."""
    if "No response body" not in text or not uri.startswith("s3://"):
        return text
    import boto3
    import botocore.exceptions

    try:
        boto3.client("s3").list_objects_v2(Bucket=uri.removeprefix("s3://").split("/")[0], MaxKeys=1)
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        return str(error)
    return text


def _bucket_exists(uri: str) -> bool:
    """Whether the bucket exists, since stores report missing buckets like missing objects."""
    fs, path = split(uri)
    try:
        return bool(fs.get_file_info(path.split("/", 1)[0]).type != pafs.FileType.NotFound)
    except OSError:
        return True


@contextlib.contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn errors of the store itself into :class:`StorageError`; others pass unchanged."""
    try:
        yield
    except OSError as error:
        _raise_explained(error, uri)


def _raise_explained(error: OSError, uri: str) -> NoReturn:
    story = explain(error, uri)
    if story is not None:
        raise story from error
    raise error
