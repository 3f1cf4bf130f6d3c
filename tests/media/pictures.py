"""Pictures as bytes."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def noise(height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG of 8 bits of grey that says it is so large; its pixels do not suffice."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"".join([b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *chunks, pixels, chunk(b"IEND", b"")])


def webp(canvas: int) -> bytes:
    """A WebP file whose canvas is larger than its picture."""
    whole = encoded(
        Image.new("RGBA", (20, 20), (1, 2, 3, 4)), "WEBP", lossless=True, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"
    )
    assert whole[12:16] == b"VP8X"
    return whole[:24] + 2 * (canvas - 1).to_bytes(3, "little") + whole[30:]


def simple_webp(data: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(data) + 4) + b"WEBP" + data


def jpeg(side: int) -> bytes:
    """A JPEG file whose frame header says that it is so large."""
    whole = encoded(Image.new("RGB", (8, 8)), "JPEG")
    at = whole.index(b"\xff\xc0")
    return whole[: at + 5] + struct.pack(">HH", side, side) + whole[at + 9 :]


def bombs() -> dict[str, tuple[bytes, str]]:
    """Files of kilobytes that say they are gigabytes, and how they are refused."""
    huge = zlib.compress(bytes(64 << 20), 1)
    large = zlib.compress(bytes(1_000_000))
    texts = [chunk(b"zTXt", b"%d\0\0" % number + large) for number in range(200)]
    lossy = b"VP8 \x14\0\0\0\x10\0\0\x9d\x01\x2a\xff\x3f\xff\x3f" + bytes(10)
    lossless = b"VP8L\x0a\0\0\0\x2f\xff\xff\xff\x0f" + bytes(5)
    return {
        "png": (png(60_000, 60_000), "image_too_large"),
        "jpeg": (jpeg(65_000), "image_too_large"),
        "webp": (webp(16_000), "image_too_large"),
        "webp, lossy": (simple_webp(lossy), "image_too_large"),
        "webp, lossless": (simple_webp(lossless), "image_too_large"),
        "text": (png(9, 9, chunk(b"zTXt", b"a\0\0" + huge)), "invalid_image"),
        "international": (png(9, 9, chunk(b"iTXt", b"a\0\1\0\0\0" + huge)), "invalid_image"),
        "profile": (png(9, 9, chunk(b"iCCP", b"a\0\0" + huge)), "invalid_image"),
        "texts": (png(9, 9, *texts), "invalid_image"),
    }


def jpeg_of_scans(number: int, size: tuple[int, int] = (640, 480)) -> bytes:
    """A progressive JPEG whose last scan is there so many more times."""
    whole = encoded(Image.new("RGB", size, (200, 30, 40)), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * number + whole[-2:]
