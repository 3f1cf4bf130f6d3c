"""Converts stored video frames to upright RGB of a given size: matrix, range, primaries, and one resize filter.

Training frames and pictures at inference both go through :class:`FrameConverter`, so that a model sees the same
processing. Colour codes are from ITU-T H.273, their names from FFmpeg.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import Float, UInt8

from media.placement import Placement, find_slant

# Full chroma interpolation: without it swscale uses tables for even widths, which are up to 3 levels too dark and skip
# every second chroma sample. It also reads all colour samples of RGB sources. Exact rounding gives the same pixels on
# every processor.
SCALING: Final = (
    Interpolation.BILINEAR
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
)
HD_LINES: Final = 720
"""Untagged video with at least this many stored lines is taken for BT.709, smaller for BT.601.

BT.601 defines television of 525 and 625 lines, of which at most 576 are visible; SMPTE ST 296 (720 lines) and BT.709
(1080) define high definition with BT.709's matrix.
"""

_MATRICES: Final = {
    1: ("bt709", Colorspace.ITU709),
    4: ("fcc", Colorspace.FCC),
    5: ("bt470bg", Colorspace.ITU601),
    6: ("smpte170m", Colorspace.ITU601),
    7: ("smpte240m", Colorspace.SMPTE240M),
    9: ("bt2020nc", Colorspace.BT2020),
}
# Unspecified or reserved values; "RGB" is not a matrix for YCbCr, either.
_UNTAGGED: Final = frozenset({0, 2, 3})
_OTHER_MATRICES: Final = {
    8: "ycgco", 10: "bt2020c", 11: "smpte2085", 12: "chroma-derived-nc", 13: "chroma-derived-c", 14: "ictcp",
}  # fmt: skip
_TRANSFERS: Final = {
    1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100", 10: "log316",
    11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084",
    17: "smpte428", 18: "arib-std-b67",
}  # fmt: skip
_HDR: Final = {"smpte2084": "PQ", "arib-std-b67": "HLG"}
_NOT_FOR_DISPLAYS: Final = frozenset({"linear", "log100", "log316", "smpte428"})
_PRIMARIES: Final = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020", 10: "smpte428",
    11: "smpte431", 12: "smpte432", 22: "ebu3213",
}  # fmt: skip
_RANGES: Final = {1: "limited", 2: "full"}
# Chromaticities x, y of red, green and blue, and of white: H.273, table 2. Primaries of standard definition
# differ so little from BT.709's that players and other loaders ignore the difference, and so do we.
_CHROMATICITIES: Final = {
    "bt709": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), (0.3127, 0.3290)),
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), (0.3127, 0.3290)),
    "smpte431": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    "smpte432": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.3127, 0.3290)),
}
_WIDE: Final = frozenset(_CHROMATICITIES) - {"bt709"}
_GAMMA: Final = 2.4  # of displays: BT.1886
_FINE: Final = 65536  # steps of linear light in the table back to levels

_INTERLACED: Final = (
    "its frames are interlaced: each shows two moments, which looks like false motion. Deinterlace it first."
)
# Decoders that flag interlaced frames.
_FLAGGING_DECODERS: Final = frozenset(
    {"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "vc1", "wmv3", "dvvideo", "prores"}
)
# Sample entries that may have Dolby Vision's own colours (profiles 4 and 5), which H.273 tags cannot describe.
_DOLBY_VISION: Final = frozenset({"dvh1", "dvhe", "dva1", "dvav", "dav1"})


class FrameError(Exception):
    """A frame that cannot be converted to upright display RGB.

    ``kind``: ``HighDynamicRange``, ``UnknownColour``, ``Interlaced`` or ``DisplayMatrix``.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Colour:
    """The interpretation of a frame's samples. ``matrix`` is the one used; the rest is as tagged, or ``unspecified``.

    ``colour_range``: ``limited`` (black 16, white 235 of 8 bits) or ``full``.
    """

    matrix: str
    colour_range: str
    transfer: str
    primaries: str


def read_colour(frame: VideoFrame) -> Colour:
    """The colour of a decoded frame, from its tags and :data:`HD_LINES`."""
    if frame.format.is_rgb or frame.format.has_palette:
        matrix = "rgb"
    elif frame.colorspace in _UNTAGGED:
        matrix = "bt709" if frame.height >= HD_LINES else "smpte170m"
    elif frame.colorspace in _MATRICES:
        matrix = _MATRICES[frame.colorspace][0]
    else:
        matrix = _OTHER_MATRICES.get(frame.colorspace, f"matrix {frame.colorspace}")
    return Colour(
        matrix,
        _RANGES.get(frame.color_range, "unspecified"),
        _TRANSFERS.get(frame.color_trc, "unspecified"),
        _PRIMARIES.get(frame.color_primaries, "unspecified"),
    )


def check_colour(colour: Colour) -> None:
    """FrameError if these samples cannot be converted to RGB for a display of standard dynamic range."""
    if colour.transfer in _HDR:
        raise FrameError(
            "HighDynamicRange",
            f"its transfer function is {colour.transfer} ({_HDR[colour.transfer]}), which is brighter than any display "
            "that models are trained for. Tone-map it to BT.709 first.",
        )
    if colour.transfer in _NOT_FOR_DISPLAYS or colour.primaries == "smpte428":
        raise FrameError(
            "UnknownColour",
            f"its transfer function is {colour.transfer} and its primaries are {colour.primaries}, which are not meant "
            "for displays. Convert it to BT.709 first.",
        )
    if colour.transfer == "unspecified" and colour.primaries == "bt2020":
        raise FrameError(
            "UnknownColour",
            "its primaries are bt2020 and its transfer function is unspecified, so it may have high dynamic range. Tag "
            "the file with its transfer function, or convert it to BT.709 first.",
        )
    if colour.matrix != "rgb" and colour.matrix not in {name for name, _ in _MATRICES.values()}:
        raise FrameError(
            "UnknownColour", f"its colour matrix, {colour.matrix}, cannot be converted. Convert it to BT.709 first."
        )


def check_frame(frame: VideoFrame) -> Colour:
    """The colour of a decoded frame; FrameError if it cannot be converted to upright display RGB, or is interlaced."""
    if slant := find_slant(frame):
        raise FrameError(
            "DisplayMatrix",
            f"its display matrix {slant}, but only rotations by 90, 180 and 270 degrees are applied. Re-encode it with "
            "ffmpeg, which applies the matrix.",
        )
    if frame.interlaced_frame:
        raise FrameError("Interlaced", _INTERLACED)
    colour = read_colour(frame)
    check_colour(colour)
    return colour


def is_interlaced(stream: VideoStream, frame: VideoFrame) -> bool:
    """Whether frames are interlaced, by a decoded frame's flag, or by the header if the decoder sets no flag.

    Headers alone may be wrong in both directions, so a decoder's flag takes precedence.
    """
    context = stream.codec_context
    return frame.interlaced_frame or (context.name not in _FLAGGING_DECODERS and context.field_order > 1)


def find_fault(stream: VideoStream, frame: VideoFrame) -> FrameError | None:
    """Why a stream's frames cannot be converted to display RGB, by its header and first frame; None if they can."""
    if stream.codec_context.codec_tag in _DOLBY_VISION and frame.color_trc in _UNTAGGED:
        return FrameError(
            "HighDynamicRange",
            "its frames are Dolby Vision without a compatible layer. Tone-map it to BT.709 first.",
        )
    if is_interlaced(stream, frame):
        return FrameError("Interlaced", _INTERLACED)
    try:
        check_frame(frame)
    except FrameError as error:
        return error
    return None


class FrameConverter:
    """Converts decoded frames to upright RGB; not thread-safe."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def convert(self, frame: VideoFrame, placement: Placement, size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
        """A frame as RGB, 0 to 255, scaled, rotated and cropped to ``size`` (height, width) by ``placement``.

        FrameError if it is interlaced, mirrored or skewed, or its colours cannot be converted.
        """
        colour = check_frame(frame)
        height, width = placement.scaled
        matrices = dict(_MATRICES.values())
        scaled = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="gbrp",  # planar: several times as fast as packed RGB, for which swscale only has C code
            src_colorspace=matrices.get(colour.matrix),
            src_color_range={"limited": 1, "full": 2}.get(colour.colour_range),
            interpolation=SCALING,
            threads=1,
        )
        upright = [np.rot90(plane, placement.turns) for plane in _rgb_planes(scaled)]
        rows = slice(placement.top, placement.top + size[0])
        columns = slice(placement.left, placement.left + size[1])
        cut = np.empty((*upright[0][rows, columns].shape, 3), np.uint8)
        for channel, plane in enumerate(upright):
            cut[..., channel] = plane[rows, columns]
        return narrow_gamut(cut, colour.primaries) if colour.primaries in _WIDE else cut


def _rgb_planes(frame: VideoFrame) -> Iterator[UInt8[np.ndarray, "h w"]]:
    """Views of the red, green and blue plane of a ``gbrp`` frame."""
    for plane in (frame.planes[2], frame.planes[0], frame.planes[1]):
        yield np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def narrow_gamut(picture: UInt8[np.ndarray, "h w 3"], primaries: str) -> UInt8[np.ndarray, "h w 3"]:
    """Convert RGB of wider primaries to BT.709's in linear light; out-of-gamut values are clipped per channel."""
    to_light, to_levels = _gamma_tables()
    light = to_light[picture]
    matrix = _to_bt709(primaries).astype(np.float32)
    # Sums in fixed order, since a matrix product rounds differently on other processors.
    channels = [light[..., 0] * row[0] + light[..., 1] * row[1] + light[..., 2] * row[2] for row in matrix]
    mixed = np.stack(channels, axis=-1)
    return np.asarray(to_levels[np.clip(np.rint(mixed * (_FINE - 1)), 0, _FINE - 1).astype(np.int32)])


@lru_cache(maxsize=1)
def _gamma_tables() -> tuple[Float[np.ndarray, "256"], UInt8[np.ndarray, "65536"]]:
    to_light = (np.arange(256) / 255) ** _GAMMA
    to_levels = np.rint(255 * (np.arange(_FINE) / (_FINE - 1)) ** (1 / _GAMMA))
    return to_light.astype(np.float32), to_levels.astype(np.uint8)


@lru_cache(maxsize=8)
def _to_bt709(primaries: str) -> Float[np.ndarray, "3 3"]:
    """Linear RGB of these primaries to linear RGB of BT.709's; white stays white."""
    matrix = np.linalg.solve(_to_xyz("bt709"), _to_xyz(primaries))
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True))


def _to_xyz(primaries: str) -> Float[np.ndarray, "3 3"]:
    columns = [np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in _CHROMATICITIES[primaries]]
    colours = np.stack(columns[:3], axis=1)
    return np.asarray(colours * np.linalg.solve(colours, columns[3]))
