"""Pictures in: files that anybody may have sent become upright RGB arrays, or one short reason why not."""

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

# An image may be so many times longer than the video's shape: more is cut off before it is resized, since a picture of
# one row would grow to thousands of times its size.
_LONGEST = 8
HEAD = 16  # bytes that tell a file's kind
_ORIENTATION = 0x0112
# What EXIF's orientation (1 is upright) asks for.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The readers themselves and not Image.open, which has a limit of pixels of its own and warns of it.
_READERS: dict[Kind, Callable[[io.BytesIO], ImageFile]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
}


class PictureError(InputError):
    """Bytes that are no picture, or none that is accepted. The message names no path."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code: Code = code

    def __reduce__(self) -> tuple[type["PictureError"], tuple[Code, str]]:
        """Both arguments, so that it travels between processes."""
        return type(self), (self.code, str(self))


def find_kind(data: bytes) -> Kind | None:
    """The format of a picture by its first ``HEAD`` bytes; None where it is none of ours."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    return "WebP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def decode_picture(data: bytes, *, max_pixels: int = 40_000_000) -> UInt8[np.ndarray, "h w 3"]:
    """A PNG, JPEG or WebP file as upright RGB, 0 to 255.

    The size is read from the header before a pixel is decoded. EXIF's orientation is applied. Grey, palettes and CMYK
    become RGB; 16 bits a channel become 8; what is transparent is laid on white; of an animation the first frame is
    taken. Colour profiles are not applied. Decoding takes up to 25 bytes of memory a pixel.

    PictureError, whose ``code`` is ``unsupported_image`` where the format is none of these, ``image_too_large`` above
    ``max_pixels``, else ``invalid_image``.
    """
    kind = find_kind(data)
    if kind is None:
        raise PictureError("unsupported_image", "this is no PNG, JPEG or WebP file: convert it to one of these.")
    if excess := find_excess(kind, data):
        raise PictureError(
            "invalid_image", f"this {kind} file has {excess}: save it anew in a picture editor, or send another."
        )
    try:
        if kind == "WebP":  # its reader makes room for all pixels when it opens a file
            _check_size(_webp_size(data), max_pixels)
        with _READERS[kind](io.BytesIO(data)) as picture:
            _check_size(picture.size, max_pixels)
            picture.load()
            return np.asarray(_flatten(_upright(picture)), np.uint8)
    except (PictureError, MemoryError):
        raise
    except Exception as error:  # decoders have no one error for bytes that somebody chose
        raise PictureError(
            "invalid_image",
            f"this {kind} file is cut off or broken: save it anew in a picture editor, or send another.",
        ) from error


def read_image(path: Path, size: tuple[int, int] | None = None) -> UInt8[np.ndarray, "height width 3"]:
    """A picture file as upright RGB, or the first frame of a video; InputError where there is none that can be used.

    With ``size`` (height, width) it is scaled to cover it and cropped, a video's frame by the very steps that training
    frames go through. Without, it has its own size; a video's pixels become square.
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
            f"image {path}: this is no picture or video that can be read. Give a JPEG, PNG, WebP or MP4 file."
        ) from None
    except OSError as error:
        raise InputError(f"image {path} cannot be read: {error.strerror}.") from error


def _first_frame(path: Path, size: tuple[int, int] | None) -> UInt8[np.ndarray, "height width 3"]:
    with av.open(path) as container:
        # A cover picture of a song counts as a video stream for FFmpeg.
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
    """Resize the short side to cover, then centre crop, with the very filter that training frames come through."""
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
            "image_too_large", f"a picture of {width} x {height} pixels: at most {most:,} are taken. Make it smaller."
        )


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height by a WebP file's first chunk; see RFC 9649, sections 2.5 to 2.7, and RFC 6386, section 9.1."""
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
    except Exception:  # noqa: BLE001 - broken EXIF takes nothing from the pixels, and Pillow has no one error for it
        turn = None
    return picture if turn is None else picture.transpose(turn)


def _flatten(picture: Image.Image) -> Image.Image:
    """RGB, with white behind."""
    if picture.mode.startswith("I"):  # 16 bits of grey, which Pillow would cut off at 255
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
