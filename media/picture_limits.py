"""Limits for a picture file's content besides pixels, counted from its headers before decoding.

Decoding time depends on more than the number of pixels: each scan of a progressive JPEG processes all of them again,
and each chunk or segment costs Python code in Pillow, however short it is.
"""

import re
from collections.abc import Iterator
from typing import Literal

Part = Literal["scan", "metadata", "exif", "other"]

_LIMITS = {
    # libjpeg writes 10 scans, other encoders up to about 20; libvips has the same limit. An empty scan of 40 megapixels
    # takes 200 bytes of the file, and 0.03 s.
    "scans": 100,
    # A file of 32 MiB in the smallest pieces that encoders write, of 4 KiB, has 8,000.
    "parts": 20_000,
    # Depth maps in XMP and printer profiles take a few MiB.
    "bytes of metadata": 16 << 20,
    # Usually one JPEG segment of 64 KiB; Pillow reads all of it for the orientation.
    "bytes of EXIF": 1 << 20,
}
_MARKER = re.compile(rb"\xff+([\x01-\xfe])")
_EOI, _APP1 = 0xD9, 0xE1
_SEGMENTS: dict[int, Part] = {0xDA: "scan", 0xFE: "metadata", **dict.fromkeys(range(0xE0, 0xF0), "metadata")}
_WITHOUT_LENGTH = frozenset([0x01, *range(0xD0, 0xD9)])  # TEM, restarts, start of image
_EXIF_CHUNKS = (b"eXIf", b"EXIF")
_PIXEL_CHUNKS = (b"IDAT", b"fdAT", b"VP8 ", b"VP8L", b"ANMF", b"ALPH")


def find_excess(kind: Literal["PNG", "JPEG", "WebP"], data: bytes) -> str | None:
    """The limit that a file exceeds, as a phrase; None if there is none.

    It takes milliseconds for any input. Broken files are left to the decoder.
    """
    totals = {"scans": 0, "parts": 0, "bytes of metadata": 0, "bytes of EXIF": 0}
    for what, size in _segments(data) if kind == "JPEG" else _chunks(kind, data):
        totals["parts"] += 1
        totals["scans"] += what == "scan"
        totals["bytes of metadata"] += size if what in ("metadata", "exif") else 0
        totals["bytes of EXIF"] += size if what == "exif" else 0
        for name, most in _LIMITS.items():
            if totals[name] > most:
                return f"more than {most:,} {name}"
    return None


def _segments(data: bytes) -> Iterator[tuple[Part, int]]:
    """The segments of a JPEG file up to the end of its first picture, with their sizes.

    Other bytes are skipped up to the next marker, as decoders do, which also finds the end of a scan.
    """
    at = 0
    while found := _MARKER.search(data, at):
        marker, at = found[1][0], found.end()
        if marker == _EOI:
            return
        if marker in _WITHOUT_LENGTH:
            yield "other", 0
            continue
        size = int.from_bytes(data[at : at + 2], "big")
        is_exif = marker == _APP1 and data.startswith(b"Exif\0", at + 2)
        yield "exif" if is_exif else _SEGMENTS.get(marker, "other"), size
        at += size


def _chunks(kind: str, data: bytes) -> Iterator[tuple[Part, int]]:
    """The chunks of a PNG or WebP file, with their sizes."""
    png = kind == "PNG"
    at = 8 if png else 12
    name = b""
    end = len(data) if png else min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while at + 8 <= end and name != b"IEND":
        first, second = data[at : at + 4], data[at + 4 : at + 8]
        name, size = (second, int.from_bytes(first, "big")) if png else (first, int.from_bytes(second, "little"))
        there = min(size, len(data) - at - 8)
        yield "exif" if name in _EXIF_CHUNKS else "other" if name in _PIXEL_CHUNKS else "metadata", there
        at += 8 + size + (4 if png else size % 2)  # a checksum, or padding
