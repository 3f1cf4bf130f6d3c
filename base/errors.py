"""The exception tree: everything that motif explains to its user in one sentence."""

from typing import ClassVar


class MotifError(Exception):
    """A condition the user can understand and act on; the ``motif`` command prints it without a traceback."""

    exit_code: ClassVar[int] = 1


class InputError(MotifError):
    """The user's input breaks a rule. The message names argument, value, rule and remedy."""

    exit_code = 2


class WeightsError(InputError):
    """Weights that a recipe names are missing or are not what they should be."""


class TooManyFailures(MotifError):  # noqa: N818 - reads as a fact, like StopIteration
    """A run stopped because more clips failed than ``max_failed`` allows; what was done is kept."""

    exit_code = 3


class StorageError(MotifError):
    """A folder, disk or bucket cannot be read or written."""

    exit_code = 4


class DamagedFile(StorageError):  # noqa: N818
    """A file of a dataset is not whole, or another one than its place says. ``uri`` names it."""

    def __init__(self, uri: str, what: str = "") -> None:
        super().__init__(f"{uri} is damaged: {what}" if what else uri)
        self.uri = uri
        self.what = what


class Incomplete(MotifError):  # noqa: N818
    """A run ended without accounting for every clip that it had planned."""

    exit_code = 5


class RayletEnded(Incomplete):
    """Ray's own process on this machine has ended under a run."""

    def __init__(self) -> None:
        super().__init__(
            "Ray's own process on this machine (the raylet) has ended; often the machine was out of memory. What was "
            "written is kept: run the same command again."
        )


class NotFinite(MotifError):  # noqa: N818
    """A training step came to a loss or gradient that is no number; the step was not applied."""

    exit_code = 6
