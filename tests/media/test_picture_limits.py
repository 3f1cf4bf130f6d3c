"""Files that cost more than their pixels: refused by their headers, before a decoder sees them."""

import io
import struct
import time
import zlib
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from media.picture import PictureError, decode_picture
from media.picture_limits import find_excess
from tests.media.pictures import chunk, encoded, jpeg_of_scans, noise, png, simple_webp

Kind = Literal["PNG", "JPEG", "WebP"]


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def with_segments(*segments: bytes) -> bytes:
    whole = encoded(Image.new("RGB", (8, 8)), "JPEG")
    return whole[:2] + b"".join(segments) + whole[2:]


EXIF = segment(0xE1, b"Exif\0\0" + bytes(60_000))
PROFILE = segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(65_000))
EXCESSIVE = {
    "a scan, again and again": ("JPEG", jpeg_of_scans(1500), "100 scans"),
    "a JPEG of comments": ("JPEG", with_segments(segment(0xFE, b"") * 30_000), "20,000 parts"),
    "a JPEG of restarts": ("JPEG", with_segments(b"\xff\xd0" * 30_000), "20,000 parts"),
    "EXIF in many pieces": ("JPEG", with_segments(EXIF * 20), "1,048,576 bytes of EXIF"),
    "a profile in too many pieces": ("JPEG", with_segments(PROFILE * 260), "16,777,216 bytes of metadata"),
    "a PNG of empty chunks": ("PNG", png(8, 8, *[chunk(b"tEXt", b"a\0b")] * 30_000), "20,000 parts"),
    "a PNG's EXIF": ("PNG", png(8, 8, chunk(b"eXIf", bytes(2 << 20))), "1,048,576 bytes of EXIF"),
    "a WebP of empty chunks": ("WebP", simple_webp(b"VP8 " + bytes(4) + b"XXXX\0\0\0\0" * 30_000), "20,000 parts"),
    "a WebP's EXIF": (
        "WebP",
        encoded(Image.new("RGB", (8, 8)), "WEBP", exif=b"Exif\0\0" + bytes(2 << 20)),
        "1,048,576 bytes of EXIF",
    ),
}


@pytest.mark.parametrize("name", EXCESSIVE)
def test_what_no_picture_needs_is_refused_undecoded(name: str) -> None:
    kind, data, told = EXCESSIVE[name]
    began = time.process_time()
    with pytest.raises(PictureError, match=f"this {kind} file has more than {told}: save it anew") as caught:
        decode_picture(data)
    assert time.process_time() - began < 1
    assert caught.value.code == "invalid_image"


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"progressive": True, "restart_marker_rows": 1}])
def test_pictures_of_encoders_are_taken(options: dict[str, Any]) -> None:
    exif, profile = Image.Exif(), bytes(range(256)) * 8000  # 2 MB, as for printers; it holds what looks like markers
    exif[0x0112] = 1
    data = encoded(Image.fromarray(noise(480, 640)), "JPEG", quality=98, exif=exif, icc_profile=profile, **options)
    assert find_excess("JPEG", data) is None
    assert decode_picture(data).shape == (480, 640, 3)
    assert find_excess("JPEG", jpeg_of_scans(80)) is None


def test_what_follows_the_picture_does_not_count() -> None:
    """A phone appends a short film to its photos, a camera further pictures."""
    one = encoded(Image.fromarray(noise()), "JPEG", progressive=True)
    assert find_excess("JPEG", one * 300) is None
    assert find_excess("JPEG", one + b"\xff\xda\0\2" * 30_000) is None
    assert find_excess("PNG", png(8, 8) + chunk(b"tEXt", b"") * 30_000) is None


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_of_an_animation_one_frame_is_decoded(kind: str) -> None:
    stream, frames = io.BytesIO(), [Image.new("RGB", (250, 250), (n, 0, 0)) for n in range(120)]
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:], lossless=True, duration=1)
    began = time.process_time()
    assert decode_picture(stream.getvalue()).shape == (250, 250, 3)
    assert time.process_time() - began < 0.3


def test_a_compressed_profile_is_not_unpacked_without_a_limit() -> None:
    """100 MB of zeros in 450 kB."""
    profile = chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(100 << 20), 1))
    text = chunk(b"zTXt", b"p\0\0" + zlib.compress(bytes(100 << 20), 1))
    for part in (profile, text):
        began = time.process_time()
        with pytest.raises(PictureError):
            decode_picture(png(8, 8, part))
        assert time.process_time() - began < 1


@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from(["PNG", "JPEG", "WebP"]), data=st.binary(max_size=300))
def test_any_bytes_come_to_an_end(kind: Kind, data: bytes) -> None:
    find_excess(kind, data)
