"""Frames of a video by their time stamps: a seek saves work, and can never give other frames than none would.

The measure is the file decoded from its start. Decoding from a later packet gives the same frames where three things
hold, and each is checked, not assumed:

1. the packets after the seek are those that the file holds from there on, in the order and of the sizes of the
   timeline, beginning no later than the keyframe at which decoding is to start;
2. the decoder itself calls the first frame a keyframe. A container may mark packets as keyframes at which decoding can
   only begin to recover (intra refresh);
3. a frame is the wanted one by its time stamp, the stamps only increase, and none is marked as damaged. Frames shown
   before the keyframe (leading pictures of an open GOP) are dropped.

Where one fails, an earlier keyframe is tried, further and further back, and at last the file is decoded from its start.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import av.error
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pipeline.video.errors import VideoError
from pipeline.video.probe import opened
from pipeline.video.timeline import Demuxer, Timeline, VideoPacket, packets_of

Show = Callable[[int, VideoFrame], None]
"""Takes the number of a wanted frame, and the frame. After a failed attempt a frame may be shown again."""

_SECONDS_BACK = (0, 1, 5)


class _Rejected(Exception):  # noqa: N818
    """The decoded frames are not provably those of the file decoded from its start."""


class _LandedLate(_Rejected):
    """A seek ended behind the packet at which decoding was to start."""


def seek_frames(container: Demuxer, stream: VideoStream, timeline: Timeline, numbers: list[int], show: Show) -> bool:
    """Show the frames with these numbers by seeking; False where no seek can be trusted.

    Needs a timeline with times.
    """
    assert timeline.ticks is not None
    wanted = {int(timeline.ticks[number]): number for number in numbers}
    with suppress(av.error.FFmpegError):  # what a damaged stretch does to a decoder is seen from the start, too
        for start in _starts(timeline, min(wanted)):
            try:
                _decode_from(container, stream, timeline, start, wanted, show)
                return True
            except _Rejected:
                continue
    return False


def read_frames(path: Path, timeline: Timeline, numbers: list[int], show: Show) -> None:
    """Show the frames with these numbers, decoding the file from its start.

    Without times in the timeline the frames are counted. Raises VideoError where a frame does not come.
    """
    missing = set(numbers)
    with opened(path) as (container, stream):
        begin = 0 if timeline.ticks is None else timeline.packets.first_key
        frames = _decoded(stream, islice(packets_of(container, stream), begin, None))
        for number, frame in enumerate(frames) if timeline.ticks is None else _by_time(timeline, frames):
            if number in missing:
                show(number, frame)
                missing.discard(number)
                if not missing:
                    return
    raise VideoError("FramesMissing", f"{len(missing)} of {len(set(numbers))} wanted frames cannot be decoded")


def _by_time(timeline: Timeline, frames: Iterator[VideoFrame]) -> Iterator[tuple[int, VideoFrame]]:
    """Each frame that the timeline has, with its number."""
    assert timeline.ticks is not None
    last = -1
    for frame in frames:
        place = -1 if frame.pts is None else int(np.searchsorted(timeline.ticks, frame.pts))
        if 0 <= place < timeline.count and timeline.ticks[place] == frame.pts:
            if place <= last:
                raise VideoError("TimesOutOfOrder", "the frames' times contradict the order they are decoded in")
            last = place
            yield place, frame


def _starts(timeline: Timeline, time: int) -> Iterator[int]:
    """Places of keyframes to start at for the frame of ``time``: the nearest, then further and further back."""
    packets = timeline.packets
    places = np.flatnonzero(packets.key & packets.shown & (packets.pts <= time))
    step = 1
    at = len(places) - 1
    while at >= 0:
        start = int(places[at])
        if start in timeline.unclean:
            at -= 1  # known already: costs nothing
            continue
        yield start
        at -= step
        step *= 2


def _decode_from(
    container: Demuxer, stream: VideoStream, timeline: Timeline, start: int, wanted: dict[int, int], show: Show
) -> None:
    """Show the wanted frames (time -> number), decoding from the packet at place ``start``."""
    time = int(timeline.packets.pts[start])
    missing = set(wanted)
    last: int | None = None
    for frame in _selected(stream, _landed(container, stream, timeline, start), missing | {time}):
        if frame.pts is None or frame.is_corrupt:
            raise _Rejected
        if last is None:
            if frame.pts < time:  # it refers to what lies before the keyframe
                continue
            if frame.pts != time or not frame.key_frame:
                timeline.unclean.add(start)
                raise _Rejected
        elif frame.pts <= last:
            raise _Rejected
        last = frame.pts
        if frame.pts in missing:
            show(wanted[frame.pts], frame)
            missing.discard(frame.pts)
            if not missing:
                return
    raise _Rejected


def _landed(container: Demuxer, stream: VideoStream, timeline: Timeline, start: int) -> Iterator[VideoPacket]:
    """The packets from place ``start`` on; _Rejected where the file gives others, or no seek lands before them."""
    packets = timeline.packets
    seconds = int(1 / timeline.tick)
    # Some demuxers seek by the time of presentation, some by that of decoding, which is earlier.
    targets = [int(packets.pts[start])]
    if packets.dts[start] <= packets.pts[start]:
        targets += [max(int(packets.dts[start]) - back * seconds, int(packets.pts.min())) for back in _SECONDS_BACK]
    for target in targets:
        with suppress(_LandedLate):
            container.seek(target, stream=stream)
            yield from _following(container, stream, timeline, start)
            return
    raise _LandedLate


def _following(container: Demuxer, stream: VideoStream, timeline: Timeline, start: int) -> Iterator[VideoPacket]:
    packets = timeline.packets
    expected = start
    for packet in packets_of(container, stream):
        place = -1 if packet.pts is None else timeline.places.get(packet.pts, -1)
        same = place >= 0 and packet.size == packets.size[place]
        if expected == start and (place < start or not same):
            if place > start:
                raise _LandedLate
            continue  # before the keyframe, or the rest of a packet that the seek landed in
        if place != expected or not same:
            raise _LandedLate if expected == start else _Rejected
        expected += 1
        yield packet
    if expected == start:
        raise _LandedLate


def _selected(stream: VideoStream, packets: Iterator[VideoPacket], wanted: set[int]) -> Iterator[VideoFrame]:
    """Decode, leaving out frames that nobody wants and no other frame refers to: same pictures, less work.

    Only with FFmpeg's own decoders of H.264 and HEVC: others, such as dav1d, decode a packet later than it comes in.
    """
    context = stream.codec_context
    if context.name not in ("h264", "hevc"):
        yield from _decoded(stream, packets)
        return
    for packet in packets:
        context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
        yield from context.decode(packet)
    context.skip_frame = "DEFAULT"
    yield from context.decode(None)


def _decoded(stream: VideoStream, packets: Iterator[VideoPacket]) -> Iterator[VideoFrame]:
    for packet in packets:
        yield from stream.codec_context.decode(packet)
    yield from stream.codec_context.decode(None)
