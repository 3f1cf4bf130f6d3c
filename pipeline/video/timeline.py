"""The presentation times of a video's frames, from the packets of its file."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

if TYPE_CHECKING:
    VideoPacket = Packet[VideoStream]
else:
    VideoPacket = Packet

_NONE = np.iinfo(np.int64).min
"""A missing time of a packet."""


@dataclass(frozen=True)
class Packets:
    """The packets of the video stream in file order, with times in ticks."""

    pts: np.ndarray
    dts: np.ndarray
    size: np.ndarray
    key: np.ndarray
    shown: np.ndarray
    """False if an edit list removes the frame."""

    @property
    def first_key(self) -> int:
        """The first keyframe packet, or 0 if none is marked."""
        return int(np.argmax(self.key)) if self.key.any() else 0


@dataclass(frozen=True)
class Timeline:
    """The frames' times in presentation order; ``ticks`` is None if the container has none."""

    count: int
    ticks: "np.ndarray | None"
    tick: Fraction
    packets: Packets
    places: dict[int, int] = field(default_factory=dict)
    """Time of a packet -> its position in the file; empty without ``ticks``."""
    unclean: set[int] = field(default_factory=set)
    """Positions of packets marked as keyframes at which decoding cannot start after all."""

    @property
    def fps(self) -> float:
        """Mean frames per second; 0 if unknown."""
        if self.ticks is None or self.count < 2:
            return 0.0
        return float((self.count - 1) / (int(self.ticks[-1] - self.ticks[0]) * self.tick))

    @property
    def variable(self) -> bool:
        """Whether selecting frames by number would change the speed.

        True if a gap is more than 1.5 times or less than half the median gap, or if the frames drift from a constant
        rate by more than a gap.
        """
        if self.ticks is None or self.count < 3:
            return False
        gaps = np.diff(self.ticks)
        usual = int(np.sort(gaps)[len(gaps) // 2])
        even = np.linspace(self.ticks[0], self.ticks[-1], self.count)
        drift = float(np.abs(self.ticks - even).max())
        return bool(gaps.max() > 1.5 * usual + 1 or gaps.min() < 0.5 * usual - 1 or drift > usual + 1)


@runtime_checkable
class Demuxer(Protocol):
    """The part of PyAV's container that is used for reading a stream."""

    def seek(self, offset: int, *, stream: VideoStream) -> None:
        """Seek to a packet near the time ``offset``, in ticks of the stream."""

    def demux(self, stream: VideoStream, /) -> Iterator[VideoPacket]:
        """The packets of the stream from the current position."""


def packets_of(container: Demuxer, stream: VideoStream) -> Iterator[VideoPacket]:
    """The non-empty packets of a stream, from the container's position to its end.

    If a file has more streams than its header declares, PyAV fails at its last step, an empty packet per stream.
    """
    with suppress(IndexError):
        yield from (packet for packet in container.demux(stream) if packet.size)


def read_timeline(container: InputContainer, stream: VideoStream) -> Timeline:
    """Read the times of a freshly opened file from its packets, without decoding."""
    rows = [
        (_NONE if p.pts is None else p.pts, _NONE if p.dts is None else p.dts, p.size, p.is_keyframe, not p.is_discard)
        for p in packets_of(container, stream)
    ]
    table = np.array(rows, np.int64).reshape(-1, 5)
    pts, dts, size, key, shown = (np.ascontiguousarray(column) for column in table.T)
    packets = Packets(pts, dts, size, key.astype(bool), shown.astype(bool))
    base = stream.time_base
    tick = Fraction(base.numerator, base.denominator) if base else Fraction(0)  # PyAV 19 has its own type
    # AVI stores no presentation times, and FFmpeg's guesses are wrong with B-frames.
    if container.format.name == "avi" or not tick or not _usable(packets):
        return Timeline(int(packets.shown.sum()), None, tick, packets)
    # Frames before the first keyframe, in file or presentation order, depend on missing frames.
    first = packets.first_key
    decodable = packets.shown[first:] & (pts[first:] >= pts[first]) if first else packets.shown
    ticks = np.sort(pts[first:][decodable])
    places = {time: place for place, time in enumerate(pts.tolist())}
    return Timeline(len(ticks), ticks, tick, packets, places)


def _usable(packets: Packets) -> bool:
    """Whether every packet has a unique time, and the times form one timeline.

    Decoding times that go backwards mean concatenated recordings, whose frames must not be interleaved.
    """
    known = packets.dts[packets.dts != _NONE]
    distinct = len(np.unique(packets.pts)) == len(packets.pts)
    return distinct and not (packets.pts == _NONE).any() and not (np.diff(known) < 0).any()


Identity = tuple[int, int, int, int]


def identity(path: Path) -> Identity:
    """Identifies the state of a file without reading it: device, inode, size and modification time."""
    stat = path.stat()
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)


_KEPT = 8
_known: OrderedDict[tuple[Path, Identity], Timeline] = OrderedDict()


def timeline_of(path: Path, container: InputContainer, stream: VideoStream) -> Timeline:
    """:func:`read_timeline` of a freshly opened file, cached for the next clips of the same file.

    If it is cached, nothing is read from ``container``.
    """
    key = (path, identity(path))
    if key not in _known:
        _known[key] = read_timeline(container, stream)
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    _known.move_to_end(key)
    return _known[key]
