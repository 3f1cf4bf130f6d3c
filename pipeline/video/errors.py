"""Why a video could not be probed or decoded, as a class and a message for the rejects table."""


class VideoError(Exception):
    """A failure of one video. ``kind`` is its class in the rejects table, such as ``NotAVideo`` or ``Timeout``."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class CannotOpenError(VideoError):
    """A file that a decoder cannot open at all; another decoder may."""
