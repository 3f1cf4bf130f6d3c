"""Seeking gives the frames of the file decoded from its start, wherever a seek lands, or nothing."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.video.errors import VideoError
from pipeline.video.probe import opened, probe
from pipeline.video.seeking import read_frames, seek_frames
from pipeline.video.timeline import Timeline, read_timeline
from tests.containers import CONTAINERS, COUNT, decode_all, read_barcode, write_container


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("containers")


@pytest.fixture(scope="module", params=CONTAINERS)
def container(request: pytest.FixtureRequest, folder: Path) -> Path:
    return write_container(folder, request.param)


def timeline_of(path: Path) -> Timeline:
    with opened(path) as (container, stream):
        return read_timeline(container, stream)


class Shown(dict[int, np.ndarray]):
    """The stored pixels of the frames that were shown."""

    def __call__(self, number: int, frame: av.VideoFrame) -> None:
        self[number] = frame.to_ndarray()


def barcode_of_planes(stored: np.ndarray) -> int | None:
    """The barcode in the luma of a 4:2:0 frame, whose planes lie below each other."""
    return read_barcode(stored[: len(stored) * 2 // 3, :, None])


def barcode_of(path: Path, numbers: list[int], timeline: Timeline) -> list[int | None]:
    """What a clip shows, by seeking where that can be trusted."""
    shown: dict[int, int | None] = {}

    def show(number: int, frame: av.VideoFrame) -> None:
        shown[number] = read_barcode(frame.to_ndarray(format="rgb24"))

    with opened(path) as (container, stream):
        if timeline.ticks is None or not seek_frames(container, stream, timeline, numbers, show):
            read_frames(path, timeline, numbers, show)
    return [shown[number] for number in numbers]


class Wandering:
    """A container whose seeks land where they like."""

    def __init__(self, container: Any, stream: Any, landings: list[int]) -> None:
        self.container = container
        self.stream = stream
        self.landings = landings

    def seek(self, target: int, stream: Any) -> None:
        landing = self.landings.pop(0) if self.landings else target
        self.container.seek(landing, stream=self.stream, any_frame=True)

    def demux(self, stream: Any) -> Iterator[Any]:
        return iter(self.container.demux(stream))


def test_a_seek_gives_every_pixel_of_the_whole_file_decoded(container: Path) -> None:
    whole = [frame.to_ndarray() for frame in decode_all(container)]
    timeline = timeline_of(container)
    assert timeline.count == len(whole) == COUNT
    numbers = [0, 3, 50, 51, 52, 97, 121, 181]
    for first in range(len(numbers)):
        shown, counted = Shown(), Shown()
        with opened(container) as (opened_file, stream):
            sought = timeline.ticks is not None and seek_frames(opened_file, stream, timeline, numbers[first:], shown)
        read_frames(container, timeline, numbers[first:], counted)
        for found in [counted, shown] if sought else [counted]:
            assert set(found) == set(numbers[first:])
            for number, pixels in found.items():
                np.testing.assert_array_equal(pixels, whole[number])
    if timeline.ticks is not None and "intra" not in container.name:
        assert sought, "a seek saves the work of decoding from the start"


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_wherever_a_seek_lands_no_other_frame_comes(container: Path, data: st.DataObject) -> None:
    timeline = timeline_of(container)
    if timeline.ticks is None:
        pytest.skip("AVI: frames are counted from the start")
    first = data.draw(st.integers(0, COUNT - 16))
    times = st.integers(int(timeline.ticks[0]), int(timeline.ticks[-1]))
    landings = data.draw(st.lists(times, max_size=12))
    shown: dict[int, int | None] = {}

    def show(number: int, frame: av.VideoFrame) -> None:
        shown[number] = read_barcode(frame.to_ndarray(format="rgb24"))

    with opened(container) as (opened_file, stream):
        wandering: Any = Wandering(opened_file, stream, landings)
        if seek_frames(wandering, stream, timeline, list(range(first, first + 16)), show):
            assert shown == {number: number for number in range(first, first + 16)}


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_damaged_files_give_the_frames_of_their_times_or_a_reason(container: Path, data: st.DataObject) -> None:
    raw = bytearray(container.read_bytes())
    for _ in range(data.draw(st.integers(1, 12))):
        raw[data.draw(st.integers(len(raw) // 10, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = container.with_name(f"damaged{container.suffix}")
    path.write_bytes(raw)
    first = data.draw(st.integers(0, COUNT - 16))
    numbers = list(range(first, first + 16))
    sought, counted = Shown(), Shown()
    try:
        timeline = timeline_of(path)
        if timeline.count <= numbers[-1] or timeline.ticks is None:
            return
        with opened(path) as (opened_file, stream):
            if not seek_frames(opened_file, stream, timeline, numbers, sought):
                return
        read_frames(path, timeline, numbers, counted)
    except VideoError:
        return
    for (
        number
    ) in numbers:  # what a decoder paints over lost blocks may differ by what it decoded before, which frame may not
        assert barcode_of_planes(sought[number]) == barcode_of_planes(counted[number])


def remux(source: Path, target: Path, first: int = 0, shift: int = 0, **options: Any) -> Path:
    """The packets from place ``first`` on, ``shift`` ticks later, in another file or container."""
    with av.open(source) as read, av.open(target, "w", **options) as written:
        stream = written.add_stream_from_template(read.streams.video[0])
        for place, packet in enumerate(read.demux(video=0)):
            if packet.dts is None or place < first:
                continue
            packet.stream = stream
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            written.mux(packet)
    return target


def shown_by(path: Path) -> list[int | None]:
    return [read_barcode(frame.to_ndarray(format="rgb24")) for frame in decode_all(path)]


def assert_clips_follow(path: Path, expected: list[int], count: int = 16) -> None:
    """Every seventh clip of the file is what its timeline and ``expected``, the numbers on show, say."""
    timeline = timeline_of(path)
    assert timeline.count == len(expected)
    for first in range(0, timeline.count - count + 1, 7):
        numbers = list(range(first, first + count))
        assert barcode_of(path, numbers, timeline) == expected[first : first + count]


def test_times_that_wrap(folder: Path) -> None:
    """A transport stream counts 33 bits of ticks: 26.5 hours, and from 0 again."""
    plain = write_container(folder, "transport-stream")
    path = remux(plain, folder / "wraps.ts", shift=(1 << 33) - 3 * 90_000)
    with av.open(path) as container:
        assert any(packet.pts is not None for packet in container.demux(video=0))
    assert_clips_follow(path, list(range(COUNT)))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_times_that_begin_late_or_below_zero(folder: Path, suffix: str) -> None:
    plain = write_container(folder, "b-frames")
    for name, shift in (("late", 700_000), ("early", -5 * 512)):
        path = remux(plain, folder / f"{name}{suffix}", shift=shift, options={"avoid_negative_ts": "disabled"})
        assert_clips_follow(path, [number for number in shown_by(path) if number is not None])


def test_frames_that_an_edit_list_leaves_out(folder: Path) -> None:
    """An mp4 whose first 30 frames are not shown: a cut without encoding again. The clip's first frame is the 31st."""
    plain = write_container(folder, "b-frames")
    path = remux(plain, folder / "cut.mp4", shift=-30 * 512, options={"avoid_negative_ts": "disabled"})
    with av.open(path) as container:
        left_out = sum(packet.is_discard for packet in container.demux(video=0))
    assert left_out > 0
    assert_clips_follow(path, list(range(30, COUNT)))


def test_a_recording_that_begins_between_keyframes(folder: Path) -> None:
    """What comes before the first keyframe cannot be decoded and is no part of the video."""
    plain = write_container(folder, "b-frames")
    for suffix in (".ts", ".mkv"):
        path = remux(plain, folder / f"cut{suffix}", first=10)
        assert_clips_follow(path, list(range(24, COUNT)))
        assert probe(path).frames == COUNT - 24


def test_recordings_joined_end_to_end(folder: Path) -> None:
    """Their times overlap: sorted by time, frames of one would come between frames of the other."""
    part = write_container(folder, "transport-stream").read_bytes()
    path = folder / "joined.ts"
    path.write_bytes(part + part)
    timeline = timeline_of(path)
    assert timeline.ticks is None
    assert_clips_follow(path, list(range(COUNT)) * 2)


def test_a_picture_rate_for_the_timeline(folder: Path) -> None:
    timeline = timeline_of(write_container(folder, "open-gop"))
    assert timeline.fps == 25
    assert timeline.tick == Fraction(1, 12800)
    assert not timeline.variable
