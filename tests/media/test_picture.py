"""Pictures that anybody may have sent."""

import json
import pickle
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from base.errors import InputError
from media.picture import PictureError, decode_picture, read_image
from media.video_file import encode_video
from tests.conftest import ROOT
from tests.media.pictures import bombs, chunk, encoded, noise, png

RED, WHITE = (255, 0, 0), (255, 255, 255)


@pytest.mark.parametrize(("form", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 100})])
def test_pixels_come_through(form: str, options: dict[str, Any]) -> None:
    found = decode_picture(encoded(Image.fromarray(noise()), form, subsampling=0, **options))
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert np.abs(found.astype(int) - noise()).max() <= (6 if form == "JPEG" else 0)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "LA", "RGBA"])
def test_every_kind_of_pixel_becomes_rgb(mode: str) -> None:
    image = Image.new("RGB", (6, 4), "white")
    image.paste("black", (0, 0, 3, 4))
    form = {"CMYK": "JPEG"}.get(mode, "PNG")
    found = decode_picture(encoded(image.convert(mode), form))
    expected = np.zeros((4, 6, 3), np.uint8)
    expected[:, 3:] = 255
    assert np.abs(found.astype(int) - expected).max() <= (5 if form == "JPEG" else 0)


def test_sixteen_bits_become_eight() -> None:
    """65535 is white and 257 steps are one: Pillow's own conversion would cut off at 255."""
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    found = decode_picture(encoded(Image.fromarray(values)))
    assert found[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
    assert (found == found[..., :1]).all()
    clear = decode_picture(encoded(Image.fromarray(values), transparency=257))
    assert clear[0, :, 0].tolist() == [0, 0, 1, 255, 128, 255]
    colours = b"".join(struct.pack(">3H", *colour) for colour in [(65535, 0, 0), (0, 32896, 65535)])
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" + colours)), chunk(b"IEND", b"")]
    assert decode_picture(b"\x89PNG\r\n\x1a\n" + b"".join(parts)).tolist() == [[[255, 0, 0], [0, 128, 255]]]


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_what_is_transparent_lies_on_white(form: str) -> None:
    image = Image.new("RGBA", (3, 1))
    for x, alpha in enumerate((0, 128, 255)):
        image.putpixel((x, 0), (*RED, alpha))
    found = decode_picture(encoded(image, form, lossless=True, exact=True))[0]
    assert found.tolist() == [list(WHITE), [255, 127, 127], list(RED)]


def test_a_transparent_colour_of_a_palette_or_of_rgb_is_white() -> None:
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), (0, 0, 255))
    assert decode_picture(encoded(image, transparency=RED))[0].tolist() == [list(WHITE), [0, 0, 255]]
    palette = image.quantize(2)
    clear = palette.getpixel((0, 0))
    assert decode_picture(encoded(palette, transparency=clear))[0].tolist() == [list(WHITE), [0, 0, 255]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_pictures_are_turned_upright(form: str, orientation: int) -> None:
    """A corner that is white when upright, stored as a camera held in each way stores it."""
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :16] = 255
    # What a viewer does to the stored picture, undone.
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation](upright)))
    found = decode_picture(encoded(stored, form, exif=exif))
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 2


def test_broken_exif_is_no_matter() -> None:
    whole = encoded(Image.fromarray(noise()), "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12")
    assert (decode_picture(whole) == noise()).all()


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_an_animation_gives_its_first_frame(form: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:], lossless=True, duration=100)
    assert (decode_picture(data) == RED).all()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_what_is_cut_off_or_broken_is_told(form: str) -> None:
    """At any place: a picture or this error, and nothing else."""
    whole = encoded(Image.fromarray(noise()), form)
    refused, codes = 0, set()
    for end in range(12, len(whole) - 2, 7):
        broken = bytearray(whole)
        broken[end] ^= 0xFF
        for data in (whole[:end], bytes(broken)):
            try:
                decode_picture(data)
            except PictureError as error:
                refused += 1
                codes.add(error.code)
    assert refused > 20
    assert codes <= {"invalid_image", "image_too_large", "unsupported_image"}
    with pytest.raises(PictureError, match="is truncated or broken") as caught:
        decode_picture(whole[: len(whole) // 2])
    assert caught.value.code == "invalid_image"


@pytest.mark.parametrize("data", [b"", b"no picture", b"GIF89a", b"RIFF\0\0\0\0AVI ", b"<svg/>", b"BM", b"\xff\xd8"])
def test_only_three_formats_are_taken(data: bytes) -> None:
    with pytest.raises(PictureError, match="this is not a PNG, JPEG or WebP file") as caught:
        decode_picture(data)
    assert caught.value.code == "unsupported_image"


def test_a_picture_may_have_so_many_pixels() -> None:
    for form in ("PNG", "JPEG", "WEBP"):
        data = encoded(Image.fromarray(noise(20, 30)), form)
        assert decode_picture(data, max_pixels=600).shape == (20, 30, 3)
        with pytest.raises(PictureError, match="30 x 20 pixels: at most 599 are allowed") as caught:
            decode_picture(data, max_pixels=599)
        assert caught.value.code == "image_too_large"
    with pytest.raises(PictureError) as caught:
        decode_picture(png(0, 10))
    assert caught.value.code == "invalid_image"


MEASURE = """
import json, pathlib, re, sys
from media.picture import PictureError, decode_picture

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]) / 1024

found = {}
for path in map(pathlib.Path, sys.argv[1:]):
    data, before = path.read_bytes(), peak()
    try:
        decode_picture(data)
        code = ""
    except PictureError as error:
        code = error.code
    found[path.name] = (code, peak() - before)
print(json.dumps(found))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is told in /proc")
def test_bombs_take_no_memory(tmp_path: Path) -> None:
    """The growth of a process that reads one after the other, in MiB; it is warned of nothing."""
    expected = bombs()
    for name, (data, _) in expected.items():
        assert len(data) < 1_000_000
        (tmp_path / name).write_bytes(data)
    command = [sys.executable, "-W", "error", "-c", MEASURE, *(tmp_path / name for name in expected)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {name: code for name, (code, _) in found.items()} == {name: code for name, (_, code) in expected.items()}
    # Pillow keeps up to 64 MiB of texts before it refuses more.
    assert not {name: mib for name, (_, mib) in found.items() if mib > (96 if name == "texts" else 16)}


def test_many_pixels_bring_no_warning() -> None:
    """Pillow's own limit lies at 89 million: above it warns."""
    data = encoded(Image.new("1", (10_000, 10_000)))
    assert len(data) < 100_000
    with pytest.raises(PictureError, match="at most 40,000,000 are allowed"):
        decode_picture(data)
    assert decode_picture(data, max_pixels=100_000_000).shape == (10_000, 10_000, 3)


def test_an_error_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(PictureError("invalid_image", "why")))
    assert (error.code, str(error)) == ("invalid_image", "why")


def test_a_file_is_a_picture_or_a_video(tmp_path: Path) -> None:
    (tmp_path / "a.webp").write_bytes(encoded(Image.fromarray(noise()), "WEBP", lossless=True))
    assert (read_image(tmp_path / "a.webp") == noise()).all()
    frames = np.stack([np.full((32, 48, 3), value, np.uint8) for value in (200, 20)])
    (tmp_path / "a.mp4").write_bytes(encode_video(frames, 8.0))
    found = read_image(tmp_path / "a.mp4")
    assert found.shape == (32, 48, 3)
    assert abs(int(found.mean()) - 200) < 5
    (tmp_path / "a.bmp").write_bytes(encoded(Image.fromarray(noise()), "BMP"))
    assert (read_image(tmp_path / "a.bmp") == noise()).all()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not a readable picture or video"),
        (b"no picture", "not a readable picture or video"),
        (b"\x89PNG\r\n\x1a\n", "is truncated or broken"),
    ],
)
def test_a_file_that_is_neither_is_named(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=rf"image .*a\.png: .*{told}"):
        read_image(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"b\.png: there is no such file"):
        read_image(tmp_path / "b.png")
    with pytest.raises(InputError, match="there is no such file"):
        read_image(tmp_path)
