"""Decodes untrusted picture files to upright RGB arrays, or reports a short reason why not."""

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import av
import numpy as np
from jaxtyping import UInt8
from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

from base.errors import InputError
from media.colour import FrameConverter, FrameError, find_fault
from media.picture_limits import find_excess
from media.placement import place, quarter_turns

Kind = Literal["PNG", "JPEG", "WebP"]
Code = Literal["invalid_image", "image_too_large", "unsupported_image"]

# Limit for an image's aspect ratio relative to the video's: longer ones are cropped before resizing, since a picture of
# one row would grow thousands of times.
_LONGEST = 8
HEAD = 16  # bytes that identify a file's format
_ORIENTATION = 0x0112
# The transforms of EXIF orientations (1 is upright).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Readers instead of Image.open, which has its own pixel limit with a warning.
_READERS: dict[Kind, Callable[[io.BytesIO], ImageFile]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
}


class PictureError(InputError):
    """Bytes that are not an acceptable picture. The message contains no path."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code: Code = code

    def __reduce__(self) -> tuple[type["PictureError"], tuple[Code, str]]:
        """Pickle both arguments."""
        return type(self), (self.code, str(self))


def find_kind(data: bytes) -> Kind | None:
    """The format of a picture by its first ``HEAD`` bytes; None if unsupported."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    return "WebP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def decode_picture(data: bytes, *, max_pixels: int = 40_000_000) -> UInt8[np.ndarray, "h w 3"]:
    """A PNG, JPEG or WebP file as upright RGB, 0 to 255.

    The size is checked from the header before decoding. EXIF's orientation is applied. Grey, palettes and CMYK are
    converted to RGB; 16-bit channels to 8; transparency is blended with white; of an animation the first frame is
    used. Colour profiles are ignored. Decoding takes up to 25 bytes of memory per pixel.

    PictureError with ``code`` ``unsupported_image`` for other formats, ``image_too_large`` above ``max_pixels``, else
    ``invalid_image``.
    """
    kind = find_kind(data)
    if kind is None:
        raise PictureError("unsupported_image", "this is not a PNG, JPEG or WebP file: convert it to one of these.")
    if excess := find_excess(kind, data):
        raise PictureError(
            "invalid_image", f"this {kind} file has {excess}: save it anew in a picture editor, or send another."
        )
    try:
        if kind == "WebP":  # its reader allocates all pixels on opening
            _check_size(_webp_size(data), max_pixels)
        with _READERS[kind](io.BytesIO(data)) as picture:
            _check_size(picture.size, max_pixels)
            picture.load()
            return np.asarray(_flatten(_upright(picture)), np.uint8)
    except (PictureError, MemoryError):
        raise
    except Exception as error:  # decoders raise many errors for hostile data
        raise PictureError(
            "invalid_image",
            f"this {kind} file is truncated or broken: save it anew in a picture editor, or send another.",
        ) from error


def read_image(path: Path, size: tuple[int, int] | None = None) -> UInt8[np.ndarray, "height width 3"]:
    """A picture file as upright RGB, or the first frame of a video; InputError if it is not usable.

    With ``size`` (height, width) it is scaled to cover it and cropped, like training frames. Without, it keeps its
    size, but with square pixels.
    """
    if not path.is_file():
        raise InputError(f"image {path}: there is no such file.")
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD)
            if find_kind(head):
                picture = decode_picture(head + stream.read())
                return picture if size is None else fit(picture, *size)
        return _first_frame(path, size)
    except PictureError as error:
        raise InputError(f"image {path}: {error}") from error
    except FrameError as error:
        raise InputError(f"image {path}: this video cannot be used: {error}") from error
    except (av.FFmpegError, IndexError, StopIteration):
        raise InputError(
            f"image {path}: not a readable picture or video. Give a JPEG, PNG, WebP or MP4 file."
        ) from None
    except OSError as error:
        raise InputError(f"image {path} cannot be read: {error.strerror}.") from error


def _first_frame(path: Path, size: tuple[int, int] | None) -> UInt8[np.ndarray, "height width 3"]:
    with av.open(path) as container:
        # FFmpeg treats the cover picture of a song as a video stream.
        covers = av.stream.Disposition.attached_pic
        stream = next(found for found in container.streams.video if not found.disposition & covers)
        frame = next(container.decode(stream))
        fault = find_fault(stream, frame)
        if fault is not None:
            raise fault
        turns, aspect = quarter_turns(frame), float(stream.sample_aspect_ratio or 1)
        if size is None:
            wide = (frame.height, round(frame.width * aspect))
            size = wide if turns % 2 == 0 else wide[::-1]
        placement = place((frame.height, frame.width), aspect, turns, size)
        return np.ascontiguousarray(FrameConverter().convert(frame, placement, size))


def fit(
    image: UInt8[np.ndarray, "height width 3"], height: int, width: int
) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """Resize the short side to cover, then centre crop, with the same filter as training frames."""
    tallest = math.ceil(_LONGEST * image.shape[1] * height / width)
    widest = math.ceil(_LONGEST * image.shape[0] * width / height)
    image = _centre(image, min(tallest, image.shape[0]), min(widest, image.shape[1]))
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
    size = (height, width)
    return np.ascontiguousarray(
        FrameConverter().convert(frame, place((image.shape[0], image.shape[1]), 1.0, 0, size), size)
    )


def _centre(image: UInt8[np.ndarray, "_ _ 3"], height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def _check_size(size: tuple[int, int], most: int) -> None:
    width, height = size
    if width * height > most:
        raise PictureError(
            "image_too_large", f"a picture of {width} x {height} pixels: at most {most:,} are allowed. Make it smaller."
        )


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height from a WebP file's first chunk; see RFC 9649, sections 2.5 to 2.7, and RFC 6386, section 9.1."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    return width, height


def _upright(picture: ImageFile) -> Image.Image:
    try:
        turn = _TURNS.get(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - broken EXIF does not affect the pixels, and Pillow raises many errors for it
        turn = None
    return picture if turn is None else picture.transpose(turn)


def _flatten(picture: Image.Image) -> Image.Image:
    """RGB on a white background."""
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow would clip at 255
        wide = np.asarray(picture).astype(np.uint32)
        grey = ((wide + 128) // 257).astype(np.uint8)
        if "transparency" in picture.info:
            grey[wide == picture.info["transparency"]] = 255
        picture = Image.fromarray(grey)
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    clear = picture.convert("RGBA")
    flat = Image.new("RGB", clear.size, "white")
    flat.paste(clear, mask=clear.getchannel("A"))
    return flat
