"""Sample videos as data URIs of bounded size: H.264, whatever they were, and at most so wide, long and large."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import av
import numpy as np
from av.container import InputContainer
from jaxtyping import UInt8

from base.errors import StorageError
from base.storage.folder import Folder
from evaluation.report.content import Video
from media.colour import FrameConverter, FrameError
from media.placement import place, quarter_turns
from media.video_file import encode_video
from pipeline.report import pictures

WIDEST, MOST_FRAMES, MOST_BYTES = 384, 64, 300_000
"""Of an embedded video: pixels of its longer side, frames, bytes."""
# From good to small: pixels of the longer side, and x264's quality. The last one is small enough whatever it shows.
_TRIES = ((WIDEST, 26), (WIDEST, 34), (WIDEST, 42), (WIDEST // 2, 42), (WIDEST // 4, 51))
_USUAL_FPS, _FASTEST = 8.0, 60.0
_UNREADABLE = (av.FFmpegError, FrameError, IndexError, OSError, StorageError, ValueError)


@dataclass(frozen=True)
class _Frames:
    """The first frames of a file, and their rate; ``is_cut`` if it has more."""

    frames: UInt8[np.ndarray, "t h w 3"]
    fps: float
    is_cut: bool


def read_tags(folder: Folder, name: str) -> dict[str, str]:
    """The tags of a video file, such as its prompt; none if it cannot be read."""
    try:
        with _opened(folder, name) as container:
            return {key: str(value) for key, value in container.metadata.items()}
    except _UNREADABLE:
        return {}


def embed(folder: Folder, name: str, title: str, right: bool | None = None) -> Video:
    """A video file as part of a page; a sentence instead if it cannot be read."""
    try:
        found = _read(folder, name)
    except FileNotFoundError:
        return Video(title, fault=f"{folder.file(name)} is not there", right=right)
    except _UNREADABLE as error:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Video(title, fault=f"{folder.file(name)} cannot be shown: {text.splitlines()[0]}", right=right)
    cut = f" (its first {MOST_FRAMES} frames)" if found.is_cut else ""
    return Video(f"{title}{cut}", _encoded(found), pictures.poster(found.frames[0]), right=right)


@contextmanager
def _opened(folder: Folder, name: str) -> Iterator[InputContainer]:
    """A video file, of which only what is asked for is read."""
    with folder.open(name) as stream, av.open(stream, "r") as container:
        yield container


def _read(folder: Folder, name: str) -> _Frames:
    """ValueError if it has no frame."""
    found: list[np.ndarray] = []
    with _opened(folder, name) as container:
        rate = float(container.streams.video[0].average_rate or _USUAL_FPS)
        for frame in _small_frames(container):
            found.append(frame)
            if len(found) > MOST_FRAMES:
                break
    if not found:
        raise ValueError("it has no frame")
    return _Frames(np.stack(found[:MOST_FRAMES]), min(max(rate, 1.0), _FASTEST), len(found) > MOST_FRAMES)


def _small_frames(container: InputContainer) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Frames upright and small, all of the first one's size."""
    stream, converter = container.streams.video[0], FrameConverter()
    size: tuple[int, int] | None = None
    aspect = float(stream.sample_aspect_ratio or 1)
    for frame in container.decode(stream):
        turns, shown = quarter_turns(frame), (frame.height, round(frame.width * aspect))
        size = size or _fitted(shown[::-1] if turns % 2 else shown, WIDEST)
        yield converter.convert(frame, place((frame.height, frame.width), aspect, turns, size), size)


def _fitted(size: tuple[int, int], widest: int) -> tuple[int, int]:
    """Height and width, even, with the longer side at most ``widest``."""
    scale = min(1.0, widest / max(size))
    height, width = (max(2, round(side * scale / 2) * 2) for side in size)
    return height, width


def _encoded(found: _Frames) -> str:
    """The first of the tries that is small enough."""
    height, width = found.frames.shape[1:3]
    for widest, crf in _TRIES:
        size = _fitted((height, width), widest)
        frames = found.frames if size == (height, width) else pictures.resized(found.frames, size)
        data = encode_video(frames, found.fps, crf=crf)
        if len(data) <= MOST_BYTES:
            break
    return pictures.data_uri("video/mp4", data)
