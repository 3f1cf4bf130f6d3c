"""The properties of a video file, read from its packets, since headers are unreliable."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import av.logging
import blake3
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from media.colour import find_fault, is_interlaced, read_colour
from media.placement import quarter_turns
from pipeline.video.errors import CannotOpenError, VideoError
from pipeline.video.timeline import read_timeline
from pipeline.video.uneven import pack_times

# Undecodable metadata must not reject a video. PyAV 19 always ignores it, and lacks the argument.
_ANY_METADATA: dict[str, Any] = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}

_CHUNK = 1 << 20
_DIGEST_BYTES = 16


@dataclass(frozen=True)
class Facts:
    """Properties of a video, from its packets. Height and width are upright and in square pixels.

    ``turns``: quarter turns anticlockwise that bring a stored frame upright; ``pixel_aspect``: width of a stored pixel
    over its height; ``content``: :func:`content_hash` of the file's bytes; for ``matrix`` and
    the other colour fields see :class:`media.colour.Colour`. ``error_class`` and ``message`` say why a readable video
    is not used.
    """

    content: str
    size: int
    frames: int
    fps: float
    variable_rate: bool
    height: int
    width: int
    turns: int
    pixel_aspect: float
    codec: str
    pixel_format: str
    container: str
    matrix: str
    colour_range: str
    transfer: str
    primaries: str
    interlaced: bool
    error_class: str | None = None
    message: str | None = None
    times: bytes | None = None
    """For a variable rate, the times of the frames (:func:`pipeline.video.uneven.pack_times`)."""


def content_hash(path: Path) -> str:
    """The algorithm and 128 bits of a file's bytes, ``blake3:`` and 32 hex digits. Collision-proof."""
    return f"blake3:{_hex(path, blake3.blake3())}"


def has_content(path: Path, recorded: str) -> bool:
    """Whether a file still has the recorded content.

    Hex digits without an algorithm are BLAKE2b-128 of version 1 datasets. ValueError for an unknown algorithm.
    """
    algorithm, _, digits = recorded.rpartition(":")
    if algorithm not in ("", "blake3"):
        raise ValueError(f"content '{recorded}': unknown algorithm '{algorithm}'; known: blake3")
    return digits == _hex(path, blake3.blake3() if algorithm else hashlib.blake2b(digest_size=_DIGEST_BYTES))


def _hex(path: Path, hasher: Any) -> str:
    # Read instead of mapped: if a mapped file shrinks, the process is killed.
    buffer = memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as raw:
        while count := raw.readinto(buffer):
            hasher.update(buffer[:count])
    digest: bytes = hasher.digest()
    return digest[:_DIGEST_BYTES].hex()


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its main video stream, single-threaded; any error raises VideoError.

    It is a CannotOpenError if a decoder other than FFmpeg's may open the file.
    """
    if path.stat().st_size == 0:
        raise VideoError("EmptyFile", "the file has no bytes")
    with av.logging.Capture(local=True) as logs:
        try:
            container = av.open(path, **_ANY_METADATA)
        except av.error.FFmpegError as error:
            raise CannotOpenError(*_explained(error, logs)) from error
        with container:
            try:
                yield container, _video_stream(container)
            except av.error.FFmpegError as error:
                raise VideoError(*_explained(error, logs)) from error


def _video_stream(container: InputContainer) -> VideoStream:
    # FFmpeg treats the cover picture of a song as a video stream.
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        raise VideoError("NoVideoStream", f"a {container.format.name} file without a video stream")
    stream = streams[0]
    if stream.codec_context is None:
        raise CannotOpenError("NoDecoder", "no decoder for the video stream")
    stream.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    # Otherwise FFmpeg rounds the left crop, and frames are wider than the header says.
    stream.codec_context.flags |= av.codec.context.Flags.unaligned
    return stream


def _explained(error: av.error.FFmpegError, logs: list[tuple[int, str, str]]) -> tuple[str, str]:
    """Class and message for the rejects table."""
    detail = next((text.strip() for _, _, text in reversed(logs) if text.strip()), "")
    kind = "NoDecoder" if isinstance(error, av.error.DecoderNotFoundError) else "NotAVideo"
    return kind, f"{error.strerror}" + (f": {detail}" if detail else "")


def first_frame(stream: VideoStream, container: InputContainer) -> VideoFrame:
    """The first decodable frame, which has the display matrix and the decoder's colour information."""
    container.seek(0, stream=stream)
    frame = next(container.decode(stream), None)
    if frame is None:
        raise VideoError("NoFrames", "no frame can be decoded")
    return frame


def probe(path: Path) -> Facts:
    """Read a local file's properties. Raises VideoError with class and reason if it is not a usable video."""
    with opened(path) as (container, stream):
        timeline = read_timeline(container, stream)
        if timeline.count == 0:
            raise VideoError("NoFrames", "the video stream has no frames")
        frame = first_frame(stream, container)
        turns, colour, fault = quarter_turns(frame), read_colour(frame), find_fault(stream, frame)
        context = stream.codec_context
        aspect = float(stream.sample_aspect_ratio or 1)
        height, width = context.height, round(context.width * aspect)
        fps = timeline.fps or float(stream.average_rate or stream.guessed_rate or 0)
        if fps <= 0:
            raise VideoError("NoFrameRate", "neither the frames' times nor the header give a frame rate")
        return Facts(
            content=content_hash(path),
            size=path.stat().st_size,
            frames=timeline.count,
            fps=fps,
            variable_rate=timeline.variable,
            height=width if turns % 2 else height,
            width=height if turns % 2 else width,
            turns=turns,
            pixel_aspect=aspect,
            codec=context.name,
            pixel_format=str(context.pix_fmt),
            container=container.format.name,
            interlaced=is_interlaced(stream, frame),
            error_class=fault.kind if fault else None,
            message=str(fault) if fault else None,
            **asdict(colour),
            times=pack_times(timeline.ticks, timeline.tick)
            if timeline.variable and timeline.ticks is not None
            else None,
        )
