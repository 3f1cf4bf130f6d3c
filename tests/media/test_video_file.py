import io
import json

import av
import numpy as np
import pytest
from PIL import Image

from media.grid import arrange, tile
from media.video_file import encode, encode_gif, encode_video
from tests.colours import Look, bias, psnr, scene, to_rgb

TEXTS = {
    "long": "a word and another " * 1700,
    "long, of four bytes": "🙂" * 32_000,
    "scripts": "Привет 你好 مرحبا नमस्ते é 👩‍🚀",
    "marks": "a\n\ttab = ; # \\ 'quote' \"double\" {json: [1]}\r\n",
    "empty": "",
}


def moving(frames: int = 5, height: int = 32, width: int = 48) -> np.ndarray:
    """A bright square on a gradient of many colours."""
    out = np.zeros((frames, height, width, 3), np.uint8)
    out[..., 0] = np.linspace(0, 255, width).astype(np.uint8)
    out[..., 1] = np.linspace(0, 255, height).astype(np.uint8)[:, None]
    for number in range(frames):
        out[number, 8:16, 4 * number : 4 * number + 8] = 255
    return out


def shown(gif: bytes) -> tuple[np.ndarray, list[int], Image.Image]:
    """Frames, milliseconds of each, and the file."""
    found, times = [], []
    image = Image.open(io.BytesIO(gif))
    for number in range(image.n_frames):
        image.seek(number)
        found.append(np.asarray(image.convert("RGB")))
        times.append(image.info["duration"])
    return np.stack(found), times, image


def test_an_mp4_holds_the_frames_and_the_same_frames_give_the_same_bytes() -> None:
    data = encode_video(moving(), 10.0, crf=0)
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        assert (stream.codec.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 10)
        found = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert np.abs(found.astype(int) - moving()).mean() < 4
    assert data.index(b"moov") < data.index(b"mdat")
    assert encode_video(moving(), 10.0, crf=0) == data


@pytest.mark.parametrize("size", [(96, 128), (34, 50)])
def test_an_mp4_says_how_its_colours_are_to_be_read_and_they_are(size: tuple[int, int]) -> None:
    """Against an exact conversion of its samples with the tags' matrix: players see the colours that were encoded."""
    picture = np.rint(255 * scene(*size)).astype(np.uint8)
    with av.open(io.BytesIO(encode_video(picture[None], 8.0, crf=0))) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (1, 1, 1, 1)
    planes = [
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in frame.planes
    ]
    shown = to_rgb(planes, Look("bt709"))
    assert bias(picture, shown) <= 0.5
    assert psnr(picture, shown) >= 40


def test_metadata_of_any_length_and_script_survives() -> None:
    with av.open(io.BytesIO(encode_video(moving(1), 8.0, metadata=TEXTS))) as container:
        assert {name: container.metadata[name] for name in TEXTS} == TEXTS
    comment = shown(encode_gif(moving(2), 8.0, metadata=TEXTS))[2].info["comment"]
    assert json.loads(comment) == TEXTS


def test_what_a_tag_cannot_hold_is_replaced() -> None:
    """A zero would end it; a lone surrogate is what a command line makes of bytes that are no text."""
    told = {"prompt": "a\0b\udcffc"}
    with av.open(io.BytesIO(encode_video(moving(1), 8.0, metadata=told))) as container:
        assert container.metadata["prompt"] == "a?b?c"
    assert json.loads(shown(encode_gif(moving(2), 8.0, metadata=told))[2].info["comment"]) == {"prompt": "a?b?c"}


def test_odd_sides_and_no_frames_are_refused() -> None:
    for frames in (moving()[:, 1:], moving()[:0]):
        with pytest.raises(ValueError, match="at least one frame and even sides"):
            encode_video(frames, 8.0)
    with pytest.raises(ValueError, match="at least one frame"):
        encode_gif(moving()[:0], 8.0)


def test_a_gif_loops_and_shows_the_frames() -> None:
    found, times, image = shown(encode_gif(moving(), 10.0))
    assert image.info["loop"] == 0
    assert times == [100] * 5
    assert np.abs(found.astype(int) - moving()).mean() < 6
    assert encode_gif(moving(), 10.0) == encode_gif(moving(), 10.0)


@pytest.mark.parametrize(("fps", "total"), [(8.0, 2000), (24.0, 670), (30.0, 530), (7.0, 2290)])
def test_a_gif_keeps_time(fps: float, total: int) -> None:
    """Frames of a length that hundredths of a second cannot say take turns with longer and shorter ones."""
    times = shown(encode_gif(moving(16, 32, 96), fps))[1]
    assert sum(times) == total
    assert max(times) - min(times) <= 10


def test_a_gif_is_never_too_fast_for_its_viewers() -> None:
    assert shown(encode_gif(moving(), 100.0))[1] == [20] * 5


def test_the_name_says_the_format() -> None:
    assert encode("a.GIF", moving(), 8.0)[:4] == b"GIF8"
    assert encode("a.mp4", moving(), 8.0)[4:8] == b"ftyp"


@pytest.mark.parametrize(
    ("groups", "rows"),
    [
        ("aabb", [[0, 1], [2, 3]]),
        ("abab", [[0, 2], [1, 3]]),
        ("aaab", [[0, 1, 2], [3]]),
        ("a", [[0]]),
        ("aaa", [[0, 1, 2]]),
        ("abcd", [[0, 1, 2, 3]]),
        ("aaaaa", [[0, 1, 2], [3, 4]]),
        ("abcdefghi", [[0, 1, 2], [3, 4, 5], [6, 7, 8]]),
    ],
)
def test_videos_of_an_image_share_a_row(groups: str, rows: list[list[int]]) -> None:
    assert arrange(groups) == rows


def test_tiles_lie_where_they_belong_and_the_rest_is_black() -> None:
    videos = [np.full((2, 4, 6, 3), 50 * (number + 1), np.uint8) for number in range(4)]
    found = tile(videos, [[0, 1, 2], [3]])
    assert found.shape == (2, 8, 18, 3)
    assert found[1, ::4, ::6, 0].tolist() == [[50, 100, 150], [200, 0, 0]]
    assert found.reshape(2, 2, 4, 3, 6, 3).std(axis=(2, 4)).max() == 0
