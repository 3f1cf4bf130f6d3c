"""The exception hierarchy: errors that are explained to the user in one sentence."""

from typing import ClassVar


class MotifError(Exception):
    """A condition the user can understand and act on; the ``motif`` command prints it without a traceback."""

    exit_code: ClassVar[int] = 1


class InputError(MotifError):
    """Invalid user input. The message names argument, value, rule and remedy."""

    exit_code = 2


class WeightsError(InputError):
    """The weights of a recipe are missing or wrong."""


class TooManyFailures(MotifError):  # noqa: N818 - no Error suffix, like StopIteration
    """A run stopped because more clips failed than ``max_failed`` allows; finished work is kept."""

    exit_code = 3


class StorageError(MotifError):
    """A folder, disk or bucket cannot be read or written."""

    exit_code = 4


class DamagedFile(StorageError):  # noqa: N818
    """A file of a dataset (``uri``) is not intact, or does not belong in its place."""

    def __init__(self, uri: str, what: str = "") -> None:
        super().__init__(f"{uri} is damaged: {what}" if what else uri)
        self.uri = uri
        self.what = what


class MissingPart(StorageError, FileNotFoundError):  # noqa: N818
    """A part of a dataset that was listed is gone: it was replaced or moved meanwhile."""


class Incomplete(MotifError):  # noqa: N818
    """A run ended without accounting for every clip that it had planned."""

    exit_code = 5


class RayletEnded(Incomplete):
    """Ray's own process on this machine has ended under a run."""

    def __init__(self) -> None:
        super().__init__(
            "Ray's own process on this machine (the raylet) has ended; often the machine was out of memory. Finished "
            "work is kept: run the same command again."
        )


class NotFinite(MotifError):  # noqa: N818
    """A training step's loss or gradient is not finite; the step was not applied."""

    exit_code = 6
