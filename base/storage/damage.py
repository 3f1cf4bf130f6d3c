"""Telling a file that is damaged from a store that does not answer."""

import contextlib
from collections.abc import Iterator

import pyarrow as pa

from base.errors import DamagedFile


@contextlib.contextmanager
def named_damage(uri: str) -> Iterator[None]:
    """Turn what a Parquet reader says of broken bytes into :class:`DamagedFile`; other errors pass unchanged.

    Put it inside of :func:`base.storage.errors.explained`: an error of the store is never taken for damage. Errors
    of the operating system have a number, those of the Parquet reader have none.
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
