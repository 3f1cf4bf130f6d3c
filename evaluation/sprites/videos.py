"""Videos as files: frames to H.264 and back."""

import io
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8

from base.errors import InputError
from media.colour import FrameConverter, FrameError
from media.placement import place
from media.video_file import encode_video


@dataclass(frozen=True)
class Video:
    """RGB frames and their rate."""

    frames: UInt8[np.ndarray, "t h w 3"]
    fps: float

    def encoded(self) -> bytes:
        """As an mp4 file, as `motif sample` writes them."""
        return encode_video(self.frames, self.fps)


def decode(data: bytes) -> Video:
    """All frames of a video file; av.FFmpegError, FrameError or IndexError if it is none."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        converter, frames = FrameConverter(), []
        for frame in container.decode(stream):
            size = (frame.height, frame.width)
            frames.append(converter.convert(frame, place(size, 1.0, 0, size), size))
        return Video(np.stack(frames), float(stream.average_rate or 0))


def read_video(path: Path) -> Video:
    """A video file of at least two frames; InputError if it cannot be used."""
    try:
        video = decode(path.read_bytes())
    except (av.FFmpegError, FrameError, IndexError, ValueError) as error:
        raise InputError(f"{path}: this video cannot be read ({error}). Replace it, or remove it.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if len(video.frames) < 2 or not video.fps > 0:
        raise InputError(
            f"{path}: it has {len(video.frames)} frames at a rate of {video.fps:g}; two or more are needed."
        )
    return video
