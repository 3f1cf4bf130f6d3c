"""Distinguishes damaged files from storage failures."""

import contextlib
from collections.abc import Iterator

import pyarrow as pa

from base.errors import DamagedFile


@contextlib.contextmanager
def named_damage(uri: str) -> Iterator[None]:
    """Turn a Parquet reader's errors about invalid data into :class:`DamagedFile`; others pass unchanged.

    Use it inside :func:`base.storage.errors.explained`, so that storage errors are never taken for damage. Errors of
    the operating system have an errno, those of the Parquet reader do not.
    """
    try:
        yield
    except pa.ArrowInvalid as error:
        raise DamagedFile(uri, _first_line(error)) from error
    except OSError as error:
        if type(error) is not OSError or error.errno is not None or "AWS Error" in str(error):
            raise
        raise DamagedFile(uri, _first_line(error)) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
