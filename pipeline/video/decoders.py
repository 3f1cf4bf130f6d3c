"""The frames of a clip, by PyAV or by decord, behind one function.

A decoder takes a local file and the frames wanted and fills uint8 RGB at training size. PyAV comes first because the
benchmark says so (``benchmarks/decode.py``); decord takes what PyAV cannot read.
"""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import UInt8

from pipeline.video.errors import VideoError
from pipeline.video.geometry import Placement, place
from pipeline.video.probe import Timeline, opened, read_timeline
from pipeline.video.sampling import Span


@dataclass(frozen=True)
class Request:
    """Frames of one clip: ``count`` from ``span.first`` every ``span.stride``, upright, ``height`` x ``width``.

    ``fps`` is the video's mean rate; with ``variable_rate`` the frames are taken at even times instead of even
    numbers, so that the clip keeps its speed.
    """

    path: Path
    span: Span
    count: int
    fps: float
    variable_rate: bool
    turns: int
    pixel_aspect: float
    height: int
    width: int


# Exact rounding costs nothing measurable and gives the same pixels on every processor.
SCALING = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT

Decoder = Callable[[Request, UInt8[np.ndarray, "t h w 3"]], None]


def decoder(name: str) -> Decoder:
    """A decoder by name: ``pyav``, ``decord``, or ``package.module:function`` for one of your own."""
    if name in DECODERS:
        return DECODERS[name]
    module, _, attribute = name.partition(":")
    if not attribute:
        raise ValueError(f"decoder '{name}': use {', '.join(DECODERS)} or package.module:function")
    found: Decoder = getattr(importlib.import_module(module), attribute)
    return found


def decode(request: Request, names: tuple[str, ...], out: UInt8[np.ndarray, "t h w 3"]) -> str:
    """Fill ``out`` with the first decoder that succeeds and return its name; raise the first one's VideoError."""
    failures: list[VideoError] = []
    for name in names:
        try:
            decoder(name)(request, out)
            return name
        except VideoError as error:
            failures.append(error)
    raise failures[0]


def wanted_frames(request: Request, timeline: Timeline) -> list[int]:
    """Numbers of the wanted frames in presentation order."""
    numbers = [request.span.first + i * request.span.stride for i in range(request.count)]
    if numbers[-1] >= timeline.count:
        raise VideoError("FramesMissing", f"frame {numbers[-1]} is wanted, the video has {timeline.count}")
    if request.variable_rate and timeline.ticks:
        seconds = np.array([float(t * timeline.tick) for t in timeline.ticks])
        step = request.span.stride / request.fps
        times = seconds[request.span.first] + step * np.arange(request.count)
        # The frame on show at that moment; half a microsecond for rounding.
        return [int(i) for i in np.searchsorted(seconds, times + 5e-7, side="right") - 1]
    return numbers


def decode_with_pyav(request: Request, out: UInt8[np.ndarray, "t h w 3"]) -> None:
    """Seek to the keyframe before the clip, decode on from there, and convert only the frames wanted."""
    with opened(request.path) as (container, stream):
        timeline = read_timeline(container, stream)
        numbers = wanted_frames(request, timeline)
        context = stream.codec_context
        placement = _placement(request, (context.height, context.width))
        reformatter = VideoReformatter()
        if timeline.ticks is None:  # no usable times: count frames from the start
            container.seek(0, stream=stream)
            places = _places(numbers)
            frames: Iterator[tuple[int | None, VideoFrame]] = enumerate(container.decode(stream))
        else:
            keys = [timeline.ticks[number] for number in numbers]
            places = _places(keys)
            container.seek(keys[0], stream=stream)
            frames = ((frame.pts, frame) for frame in _decode_for(container, stream, set(keys)))
        missing = set(places)
        for key, frame in frames:
            if key in missing:
                missing.discard(key)
                picture = _convert(reformatter, frame, placement, request)
                for index in places[key]:
                    out[index] = picture
                if not missing:
                    return
        raise VideoError("FramesMissing", f"{len(missing)} of {len(places)} wanted frames cannot be decoded")


def _places(keys: list[int]) -> dict[int, list[int]]:
    places: dict[int, list[int]] = {}
    for index, key in enumerate(keys):
        places.setdefault(key, []).append(index)
    return places


def _decode_for(container: InputContainer, stream: VideoStream, wanted: set[int]) -> Iterator[VideoFrame]:
    """Decode, leaving out frames that nobody wants and no other frame refers to: same pictures, less work.

    Only with FFmpeg's own decoders of H.264 and HEVC: others, such as dav1d, decode a packet later than it comes in.
    """
    context = stream.codec_context
    selective = context.name in ("h264", "hevc")
    for packet in container.demux(stream):
        if selective:
            context.skip_frame = "DEFAULT" if packet.pts is None or packet.pts in wanted else "NONREF"
        yield from context.decode(packet)


def _convert(
    reformatter: VideoReformatter, frame: VideoFrame, placement: Placement, request: Request
) -> UInt8[np.ndarray, "h w 3"]:
    height, width = placement.scaled
    scaled = reformatter.reformat(frame, width=width, height=height, format="rgb24", interpolation=SCALING, threads=1)
    return _cut(scaled.to_ndarray(), placement, request)


def _placement(request: Request, stored: tuple[int, int]) -> Placement:
    return place(stored, request.pixel_aspect, request.turns, (request.height, request.width))


def _cut(picture: np.ndarray, placement: Placement, request: Request) -> np.ndarray:
    upright = np.rot90(picture, placement.turns)
    return upright[placement.top : placement.top + request.height, placement.left : placement.left + request.width]


def decode_with_decord(request: Request, out: UInt8[np.ndarray, "t h w 3"]) -> None:
    """Decode at full size by frame number, then resize; for files that PyAV cannot read.

    decord turns frames upright itself; that pixels may not be square it ignores, so such videos are refused here.
    """
    import decord

    if request.pixel_aspect != 1:
        raise VideoError("NotAVideo", "decord reads only videos with square pixels")

    try:
        reader = decord.VideoReader(str(request.path), ctx=decord.cpu(0), num_threads=1)
        numbers = [request.span.first + i * request.span.stride for i in range(request.count)]
        if numbers[-1] >= len(reader):
            raise VideoError("FramesMissing", f"frame {numbers[-1]} is wanted, decord sees {len(reader)}")
        frames = reader.get_batch(numbers).asnumpy()
    except (decord.DECORDError, RuntimeError, IndexError) as error:
        raise VideoError("NotAVideo", f"decord: {str(error).strip().splitlines()[-1][:200]}") from error
    placement = place(frames.shape[1:3], 1.0, 0, (request.height, request.width))
    height, width = placement.scaled
    shrinks = height < frames.shape[1]
    for index, frame in enumerate(frames):
        scaled = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        out[index] = _cut(scaled, placement, request)


DECODERS: dict[str, Decoder] = {"pyav": decode_with_pyav, "decord": decode_with_decord}
