import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import torchvision.transforms.functional as tvf
from av.bitstream import BitStreamFilterContext
from av.video.reformatter import VideoReformatter

from media.colour import SCALING
from pipeline.video.decoders import Request, decode, decode_with_decord, decode_with_pyav, decoder
from pipeline.video.errors import CannotOpenError, VideoError
from pipeline.video.probe import probe
from pipeline.video.sampling import Span
from tests.containers import CONTAINERS, read_barcode, write_container
from tests.videos import brightness_number, number_of, pictures, rotate, write


def request_of(path: Path, span: Span, count: int, size: tuple[int, int]) -> Request:
    facts = probe(path)
    return Request(
        path, span, count, facts.fps, facts.variable_rate, facts.turns, facts.pixel_aspect, *size, facts.frames
    )


def frames_of(
    path: Path, span: Span = Span(0, 1), count: int = 4, size: tuple[int, int] = (64, 64), name: str = "pyav"
) -> np.ndarray:
    request = request_of(path, span, count, size)
    out = np.zeros((count, *size, 3), np.uint8)
    decoder(name)(request, out)
    return out


@pytest.mark.parametrize("name", ["pyav", "decord"])
@pytest.mark.parametrize("span", [Span(0, 1), Span(3, 2), Span(11, 4)])
def test_the_right_frames(tmp_path: Path, name: str, span: Span) -> None:
    path = write(tmp_path / "a.mp4", pictures(40, 64, 64), options={"g": "12", "bf": "3"})
    frames = frames_of(path, span, 6, name=name)
    assert [number_of(frame) for frame in frames] == [span.first + i * span.stride for i in range(6)]


@pytest.mark.parametrize(
    ("codec", "pixel_format", "suffix"),
    [
        ("libx264", "yuv420p", ".mp4"),
        ("libx264", "yuv444p", ".mkv"),
        ("libx264", "yuv420p10le", ".mp4"),
        ("libx265", "yuv420p", ".mp4"),
        ("libvpx-vp9", "yuv420p", ".webm"),
        ("libsvtav1", "yuv420p", ".mp4"),
        ("libsvtav1", "yuv420p10le", ".mkv"),
        ("mpeg4", "yuv420p", ".avi"),
        ("mjpeg", "yuvj420p", ".avi"),
    ],
)
def test_codecs_and_pixel_formats(tmp_path: Path, codec: str, pixel_format: str, suffix: str) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this build of PyAV has no encoder {codec}")
    shown = pictures(24, 64, 96)
    scheduling = os.sched_getscheduler(0)
    path = write(tmp_path / f"a{suffix}", shown, codec=codec, pixel_format=pixel_format)
    assert os.sched_getscheduler(0) == scheduling, "the rest of the tests would run with another priority"
    frames = frames_of(path, Span(5, 3), 6, (64, 96))
    assert [brightness_number(frame) for frame in frames] == pytest.approx([5, 8, 11, 14, 17, 20], abs=0.7)
    assert np.abs(frames.astype(int) - shown[5:21:3]).mean() < 8


def test_leaving_out_unwanted_frames_changes_no_pixel(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3)).astype(np.uint8)
    path = write(tmp_path / "a.mp4", noise, options={"bf": "4", "g": "30"})
    with av.open(path) as container:
        container.streams.video[0].thread_type = "NONE"
        all_frames = list(container.decode(video=0))
    reformatter = VideoReformatter()
    wanted = [all_frames[i] for i in (2, 7, 12, 17, 22)]
    plain = [reformatter.reformat(f, format="rgb24", interpolation=SCALING, threads=1).to_ndarray() for f in wanted]
    np.testing.assert_array_equal(frames_of(path, Span(2, 5), 5), plain)


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("name", ["pyav", "decord"])
def test_rotated_videos_come_upright(tmp_path: Path, degrees: int, name: str) -> None:
    upright = pictures(6, 96, 64)
    stored = np.rot90(upright, degrees // 90, axes=(1, 2))  # turned left; the matrix turns it right again
    path = rotate(write(tmp_path / "a.mp4", stored), degrees)
    frames = frames_of(path, Span(1, 1), 3, (96, 64), name)
    assert np.abs(frames.astype(int) - upright[1:4]).mean() < 6


def test_odd_sizes_and_square_pixels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", pictures(5, 65, 99), pixel_format="yuv444p")
    assert [number_of(frame) for frame in frames_of(path, count=3, size=(72, 104))] == [0, 1, 2]
    shown = pictures(5, 96, 96)
    wide = write(tmp_path / "b.mp4", shown[:, :, ::2], aspect=Fraction(2, 1))
    assert np.abs(frames_of(wide, count=2, size=(96, 96)).astype(int) - shown[:2]).mean() < 8
    with pytest.raises(VideoError, match="square pixels"):
        frames_of(wide, name="decord")


def test_variable_rate_keeps_the_speed(tmp_path: Path) -> None:
    """Shown at 0, 50, 100, ... 300 ms, then every 100 ms: even steps of 100 ms leave out every second one at first."""
    times = [*range(0, 300, 50), *range(300, 900, 100)]
    path = write(tmp_path / "a.mkv", pictures(12, 64, 64), times=times)
    facts = probe(path)
    assert facts.variable_rate
    request = Request(path, Span(0, 1), 8, 10.0, facts.variable_rate, 0, 1.0, 64, 64)
    out = np.zeros((8, 64, 64, 3), np.uint8)
    decode_with_pyav(request, out)
    assert [number_of(frame) for frame in out] == [0, 2, 4, 6, 7, 8, 9, 10]
    with pytest.raises(VideoError, match="no frames at the even times"):
        decode_with_pyav(replace(request, fps=20.0), out)


def test_resize_covers_and_crops_the_centre(real_clips: Path) -> None:
    """Against torchvision's antialiased resize and centre crop of the full-size frame."""
    path = real_clips / "bigbuckbunny.mp4"
    frames = frames_of(path, Span(20, 3), 3, (320, 512))
    with av.open(path) as container:
        full = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][20:29:3]
    images = torch.from_numpy(np.stack(full)).permute(0, 3, 1, 2).float()
    scaled = tvf.resize(images, [320, 569], antialias=True)
    expected = tvf.center_crop(scaled, [320, 512]).permute(0, 2, 3, 1).numpy()
    assert np.abs(frames - expected).mean() < 2.5


def test_decoders_agree_on_real_videos(real_clips: Path) -> None:
    for path in sorted(real_clips.iterdir()):
        if probe(path).pixel_aspect != 1 or path.suffix == ".avi":
            continue  # decord refuses pixels that are not square, and has no times in AVI
        ours = frames_of(path, Span(30, 2), 5, (160, 256))
        theirs = frames_of(path, Span(30, 2), 5, (160, 256), "decord")
        assert np.abs(ours.astype(int) - theirs).mean() < 4, path


def test_frames_that_are_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", pictures(10, 64, 64))
    for name in ("pyav", "decord"):
        with pytest.raises(VideoError, match="frame 12 is wanted") as caught:
            frames_of(path, Span(9, 1), 4, name=name)
        assert caught.value.kind == "FramesMissing"


def broken(request: Request, out: np.ndarray) -> None:
    raise CannotOpenError("NotAVideo", "this decoder reads nothing")


def loses_frames(request: Request, out: np.ndarray) -> None:
    raise VideoError("FramesMissing", "frames are missing")


def test_the_next_decoder_takes_what_the_first_cannot_open(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", pictures(6, 64, 64))
    out = np.zeros((3, 64, 64, 3), np.uint8)
    request = request_of(path, Span(0, 1), 3, (64, 64))
    assert decode(request, (f"{__name__}:broken", "decord"), out) == "decord"
    assert number_of(out[2]) == 2
    with pytest.raises(VideoError, match="reads nothing"):
        decode(request, (f"{__name__}:broken", f"{__name__}:broken"), out)
    with pytest.raises(VideoError, match="frames are missing"):
        decode(request, (f"{__name__}:loses_frames", "decord"), out)


@pytest.mark.parametrize("name", CONTAINERS)
def test_decord_gives_the_right_frames_or_none(tmp_path: Path, name: str) -> None:
    path = write_container(tmp_path, name)
    for first in (0, 22, 101):
        try:
            frames = frames_of(path, Span(first, 1), 16, name="decord")
        except VideoError as error:
            assert error.kind in ("FramesMissing", "NotAVideo"), error  # noqa: PT017 - either is right
            continue
        assert [read_barcode(frame) for frame in frames] == list(range(first, first + 16))


def test_a_video_of_other_frames_than_were_probed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", pictures(10, 64, 64))
    request = replace(request_of(path, Span(0, 1), 4, (64, 64)), frames=11)
    for name in ("pyav", "decord"):
        with pytest.raises(VideoError, match="frames") as caught:
            decoder(name)(request, np.zeros((4, 64, 64, 3), np.uint8))
        assert caught.value.kind == "FramesMissing"


def test_an_unknown_decoder() -> None:
    with pytest.raises(ValueError, match="decoders 'magic': use pyav, decord"):
        decoder("magic")


def test_decord_is_told_apart(tmp_path: Path) -> None:
    text = tmp_path / "a.mp4"
    text.write_text("no video" * 50)
    with pytest.raises(VideoError, match="decord"):
        decode_with_decord(
            Request(text, Span(0, 1), 2, 25, False, 0, 1.0, 64, 64, 2), np.zeros((2, 64, 64, 3), np.uint8)
        )


def test_a_clip_in_which_the_size_changes_is_refused(tmp_path: Path) -> None:
    """Of a recording whose size changes after 30 frames, clips of the first size are as they were."""
    joined = tmp_path / "joined.ts"
    options = {"g": "10", "bf": "0"}
    first = write(tmp_path / "a.ts", pictures(30, 96, 128), options=options)
    later = [1200 + 40 * number for number in range(30)]
    second = write(tmp_path / "b.ts", pictures(30, 128, 96), options=options, times=later)
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    facts = probe(joined)
    assert (facts.frames, facts.height, facts.width) == (60, 96, 128)

    def clip(begin: int) -> np.ndarray:
        out = np.zeros((4, 64, 64, 3), np.uint8)
        decode_with_pyav(Request(joined, Span(begin, 1), 4, 25.0, False, 0, 1.0, 64, 64, 60), out)
        return out

    assert [number_of(frame) for frame in clip(20)] == [20, 21, 22, 23]
    for begin in (28, 40):
        with pytest.raises(VideoError, match="has 96 x 128 pixels and the video begins with 128 x 96") as caught:
            clip(begin)
        assert caught.value.kind == "SizeChanged"


def test_a_stream_that_crops_on_the_left_is_decoded_as_its_header_says(tmp_path: Path) -> None:
    """FFmpeg would round the crop to what its processor likes; then frames were wider than the header says."""
    whole = write(tmp_path / "a.mp4", pictures(6, 128, 160))
    cropped = tmp_path / "b.mp4"
    with av.open(whole) as source, av.open(cropped, "w") as target:
        stream = source.streams.video[0]
        out = target.add_stream_from_template(stream)
        crop = BitStreamFilterContext("h264_metadata=crop_left=20:crop_top=8", stream, out)
        for packet in source.demux(stream):
            for changed in crop.filter(packet if packet.size else None):
                changed.stream = out
                target.mux(changed)
    facts = probe(cropped)
    assert (facts.height, facts.width) == (120, 140)
    whole_frames, frames = frames_of(whole, count=3, size=(128, 160)), frames_of(cropped, count=3, size=(120, 140))
    assert np.abs(frames.astype(int) - whole_frames[:, 8:, 20:]).mean() < 4
