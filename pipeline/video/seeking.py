"""Frames of a video by timestamp: seeking saves work, but never gives other frames than decoding from the start.

The reference is the file decoded from its start. Decoding from a later packet gives the same frames under three
conditions, all of which are checked:

1. the packets after the seek match the timeline in order and size, and begin no later than the keyframe at which
   decoding starts;
2. the decoder itself reports the first frame as a keyframe. A container may mark packets as keyframes from which
   decoding only recovers gradually (intra refresh);
3. frames are identified by timestamp, timestamps strictly increase, and no frame is marked as corrupt. Frames shown
   before the keyframe (leading pictures of an open GOP) are dropped.

If one fails, earlier and earlier keyframes are tried, and finally the file is decoded from its start.
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
"""Receives the number of a requested frame, and the frame. After a failed attempt a frame may be passed again."""

_SECONDS_BACK = (0, 1, 5)


class _Rejected(Exception):  # noqa: N818
    """The decoded frames may differ from those of the file decoded from its start."""


class _LandedLate(_Rejected):
    """A seek landed after the packet at which decoding should start."""


def seek_frames(container: Demuxer, stream: VideoStream, timeline: Timeline, numbers: list[int], show: Show) -> bool:
    """Pass the frames with these numbers to ``show`` by seeking; False if no seek is reliable.

    Needs a timeline with times.
    """
    assert timeline.ticks is not None
    wanted = {int(timeline.ticks[number]): number for number in numbers}
    with suppress(av.error.FFmpegError):  # decoding from the start will report damage, too
        for start in _starts(timeline, min(wanted)):
            try:
                _decode_from(container, stream, timeline, start, wanted, show)
                return True
            except _Rejected:
                continue
    return False


def read_frames(path: Path, timeline: Timeline, numbers: list[int], show: Show) -> None:
    """Pass the frames with these numbers to ``show``, decoding the file from its start.

    Without times in the timeline the frames are counted. Raises VideoError if a frame is missing.
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
    """The frames of the timeline, with their numbers."""
    assert timeline.ticks is not None
    last = -1
    for frame in frames:
        place = -1 if frame.pts is None else int(np.searchsorted(timeline.ticks, frame.pts))
        if 0 <= place < timeline.count and timeline.ticks[place] == frame.pts:
            if place <= last:
                raise VideoError("TimesOutOfOrder", "the frames' times contradict their decoding order")
            last = place
            yield place, frame


def _starts(timeline: Timeline, time: int) -> Iterator[int]:
    """Positions of keyframes to start at for the frame at ``time``: the nearest, then earlier and earlier ones."""
    packets = timeline.packets
    places = np.flatnonzero(packets.key & packets.shown & (packets.pts <= time))
    step = 1
    at = len(places) - 1
    while at >= 0:
        start = int(places[at])
        if start in timeline.unclean:
            at -= 1  # already known, so skipping costs nothing
            continue
        yield start
        at -= step
        step *= 2


def _decode_from(
    container: Demuxer, stream: VideoStream, timeline: Timeline, start: int, wanted: dict[int, int], show: Show
) -> None:
    """Pass the requested frames (time -> number) to ``show``, decoding from the packet at position ``start``."""
    time = int(timeline.packets.pts[start])
    missing = set(wanted)
    last: int | None = None
    for frame in _selected(stream, _landed(container, stream, timeline, start), missing | {time}):
        if frame.pts is None or frame.is_corrupt:
            raise _Rejected
        if last is None:
            if frame.pts < time:  # it depends on frames before the keyframe
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
    """The packets from position ``start``; _Rejected if they do not match, or no seek lands before them."""
    packets = timeline.packets
    seconds = int(1 / timeline.tick)
    # Some demuxers seek by presentation time, some by decoding time, which is earlier.
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
            continue  # before the keyframe, or a partial packet where the seek landed
        if place != expected or not same:
            raise _LandedLate if expected == start else _Rejected
        expected += 1
        yield packet
    if expected == start:
        raise _LandedLate


def _selected(stream: VideoStream, packets: Iterator[VideoPacket], wanted: set[int]) -> Iterator[VideoFrame]:
    """Decode, skipping frames that are neither requested nor referenced by others.

    Only with FFmpeg's own H.264 and HEVC decoders: others, such as dav1d, decode packets with delay.
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
