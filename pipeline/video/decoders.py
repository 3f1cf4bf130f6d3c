"""Decodes the frames of a clip by PyAV or decord.

A decoder reads the requested frames of a local file as uint8 RGB at training size. PyAV comes first because it is
faster (``benchmarks/decode.py``); decord is for files that PyAV cannot open.
"""

import importlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from jaxtyping import UInt8

from media.colour import FrameConverter, FrameError
from media.picture import fit
from media.placement import Placement, place
from pipeline.video.errors import CannotOpenError, VideoError
from pipeline.video.probe import opened
from pipeline.video.sampling import Span
from pipeline.video.seeking import read_frames, seek_frames
from pipeline.video.timeline import Timeline, timeline_of
from pipeline.video.uneven import even_frames, seconds_of


@dataclass(frozen=True)
class Request:
    """Frames of one clip: ``count`` from ``span.first`` every ``span.stride``, upright, ``height`` x ``width``.

    ``fps`` is the video's mean rate; with ``variable_rate`` frames are selected at even times instead of by
    number, so that the clip keeps its speed.
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
    frames: int | None = None
    """The number of frames that the probe counted, if known."""


Decoder = Callable[[Request, UInt8[np.ndarray, "t h w 3"]], None]


def decoder(name: str) -> Decoder:
    """A decoder by name: ``pyav``, ``decord``, or ``package.module:function`` for your own."""
    check_name(name)
    if name in DECODERS:
        return DECODERS[name]
    module, _, attribute = name.partition(":")
    found: Decoder = getattr(importlib.import_module(module), attribute)
    return found


def check_name(name: str) -> None:
    """ValueError for an invalid decoder name; your own function is not imported."""
    module, _, attribute = name.partition(":")
    if name not in DECODERS and not (module and attribute):
        raise ValueError(f"decoders '{name}': use {', '.join(DECODERS)} or package.module:function")


def decode(request: Request, names: tuple[str, ...], out: UInt8[np.ndarray, "t h w 3"]) -> str:
    """Fill ``out`` using the first decoder that can open the file, and return its name.

    The next decoder is only tried if one cannot open the file at all: after a failure inside a file, frames of another
    decoder would not be trustworthy. Raises the VideoError of the decoder that opened the file, or of the first one.
    """
    failures: list[CannotOpenError] = []
    for name in names:
        try:
            decoder(name)(request, out)
            return name
        except CannotOpenError as error:
            failures.append(error)
    raise failures[0]


def wanted_frames(request: Request, timeline: Timeline) -> list[int]:
    """Numbers of the requested frames in presentation order."""
    numbers = [request.span.first + i * request.span.stride for i in range(request.count)]
    if numbers[0 if request.variable_rate else -1] >= timeline.count:
        raise VideoError("FramesMissing", f"frame {numbers[-1]} is wanted, the video has {timeline.count}")
    if request.variable_rate and timeline.ticks is not None:
        seconds = seconds_of(timeline.ticks, timeline.tick)
        even = even_frames(seconds, request.span.first, request.span.stride / request.fps, request.count)
        if even is None:
            raise VideoError("FramesMissing", "the video has no frames at the even times of this clip")
        return [int(number) for number in even]
    return numbers


def decode_with_pyav(request: Request, out: UInt8[np.ndarray, "t h w 3"]) -> None:
    """Decode from a keyframe before the clip, or from the start, and convert only the requested frames."""
    converter = FrameConverter()
    with opened(request.path) as (container, stream):
        timeline = timeline_of(request.path, container, stream)
        if request.frames not in (None, timeline.count):
            counts = f"{timeline.count} frames, {request.frames} when it was probed"
            raise VideoError("FramesMissing", f"{counts}: use the same version of PyAV (av) on all machines")
        numbers = wanted_frames(request, timeline)
        context = stream.codec_context
        stored = (context.height, context.width)
        placement = _placement(request, stored)

        def show(number: int, frame: VideoFrame) -> None:
            _check_size(number, frame, stored)
            picture = _convert(converter, frame, placement, request)
            for index, wanted in enumerate(numbers):
                if wanted == number:
                    out[index] = picture

        if timeline.ticks is not None and seek_frames(container, stream, timeline, numbers, show):
            return
    read_frames(request.path, timeline, numbers, show)


def _check_size(number: int, frame: VideoFrame, stored: tuple[int, int]) -> None:
    if (frame.height, frame.width) != stored:
        raise VideoError(
            "SizeChanged",
            f"frame {number} has {frame.width} x {frame.height} pixels and the video begins with {stored[1]} x "
            f"{stored[0]}: cut it where its size changes, or re-encode it in one size",
        )


def _convert(
    converter: FrameConverter, frame: VideoFrame, placement: Placement, request: Request
) -> UInt8[np.ndarray, "h w 3"]:
    try:
        return converter.convert(frame, placement, (request.height, request.width))
    except FrameError as error:
        raise VideoError(error.kind, str(error)) from error


def _placement(request: Request, stored: tuple[int, int]) -> Placement:
    return place(stored, request.pixel_aspect, request.turns, (request.height, request.width))


def decode_with_decord(request: Request, out: UInt8[np.ndarray, "t h w 3"]) -> None:
    """Decode the whole file at full size and count, then resize; for files that PyAV cannot open.

    decord's seeks are inexact and its frames have no timestamps. So frames are counted from start to end; their number
    must match the probe, and decord's frame times must have a constant rate. Other files are refused, as are those with
    non-square pixels, which decord ignores.
    """
    import decord

    if request.pixel_aspect != 1:
        raise VideoError("NotAVideo", "decord reads only videos with square pixels")
    if request.variable_rate or request.frames is None:
        raise VideoError("NotAVideo", "decord's frames have no timestamps, so it only reads videos of a constant rate")
    try:
        reader = decord.VideoReader(str(request.path), ctx=decord.cpu(0), num_threads=1)
        numbers = [request.span.first + i * request.span.stride for i in range(request.count)]
        if numbers[-1] >= len(reader):
            raise VideoError("FramesMissing", f"frame {numbers[-1]} is wanted, decord sees {len(reader)}")
        frames = _counted(reader, set(numbers))
        times = reader.get_frame_timestamp([0, *numbers])[:, 0]
    except (decord.DECORDError, RuntimeError, IndexError) as error:
        raise VideoError("NotAVideo", f"decord: {str(error).strip().splitlines()[-1][:200]}") from error
    even = np.abs(times[1:] - times[0] - np.array(numbers) / request.fps) < 0.5 / request.fps
    if len(frames) < len(numbers) or len(reader) != request.frames or not even.all():
        raise VideoError("FramesMissing", "decord's frames do not match the probed frame count and rate")
    for index, number in enumerate(numbers):
        out[index] = fit(frames[number], request.height, request.width)


def _counted(reader: Any, numbers: set[int]) -> dict[int, np.ndarray]:
    """The frames with these numbers, by counting through the file; empty if the count is unreliable.

    decord drops frames at the start of some files and repeats the last one to match the count, so a file that ends in
    two equal frames is not trusted.
    """
    found: dict[int, np.ndarray] = {}
    count = 0
    before = last = np.empty(0)
    with suppress(StopIteration):
        while True:
            before, last = last, reader.next().asnumpy()
            if count in numbers:
                found[count] = last
            count += 1
    return {} if count != len(reader) or np.array_equal(before, last) else found


DECODERS: dict[str, Decoder] = {"pyav": decode_with_pyav, "decord": decode_with_decord}
