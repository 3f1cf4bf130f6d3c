"""What a video file is and says: its form, and the tags in its metadata."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import av
import blake3

from base.errors import InputError
from evaluation.bench.form import Form, describe
from evaluation.sprites.videos import decode
from media.colour import FrameError

_RATE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class VideoFacts:
    """A video whose frames can all be decoded."""

    tags: Mapping[str, str]
    frames: int
    height: int
    width: int
    fps: float
    content: str
    """A hash of the file, ``blake3:`` and 32 hex digits."""

    def __str__(self) -> str:
        """Its form in words."""
        return describe(self.frames, self.height, self.width, self.fps)

    def has(self, form: Form) -> bool:
        """Whether it has this form."""
        same_size = self.height == self.width == form.size
        return same_size and self.frames == form.frames and abs(self.fps - form.fps) <= _RATE_TOLERANCE * form.fps


class UnreadableVideoError(Exception):
    """Why a file is no video that can be decoded to its end."""


def read_tags(data: bytes) -> dict[str, str]:
    """The tags of a video file; UnreadableVideoError if it cannot be opened."""
    try:
        with av.open(io.BytesIO(data), "r") as container:
            return dict(container.metadata)
    except (av.FFmpegError, UnicodeDecodeError, ValueError) as error:
        raise UnreadableVideoError(str(error)) from error


def read_facts(data: bytes) -> VideoFacts:
    """The facts of a video file; UnreadableVideoError if not all of it can be decoded."""
    tags = read_tags(data)
    try:
        video = decode(data)
    except (av.FFmpegError, FrameError, IndexError, ValueError) as error:
        raise UnreadableVideoError(str(error) or type(error).__name__) from error
    frames, height, width, _ = video.frames.shape
    return VideoFacts(tags, frames, height, width, video.fps, f"blake3:{blake3.blake3(data).hexdigest(16)}")


def read_video_file(path: Path) -> bytes:
    """A video file as it is; InputError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
