"""An independent colour conversion in floating point, and videos whose samples are known.

Planes go to RGB at full resolution first, chroma by linear interpolation, with the matrix that follows from a
standard's Kr and Kb; then RGB is resized by a triangle filter as wide as the step. Nothing here calls swscale.
"""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from media.placement import place

# Kr and Kb: BT.601, BT.709 and BT.2020; and how H.273 numbers the matrices.
KR_KB = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
MATRIX_NUMBERS = {"bt601": 6, "bt709": 1, "bt2020": 9}
STEPS = {"444": (1, 1), "422": (1, 2), "420": (2, 2)}


@dataclass(frozen=True)
class Look:
    """How the samples of a video mean colours."""

    matrix: str = "bt709"
    full: bool = False
    chroma: str = "420"
    bits: int = 8

    @property
    def pixel_format(self) -> str:
        return f"yuv{self.chroma}p" + ("10le" if self.bits == 10 else "")


def scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    """RGB from 0 to 1: soft colours that turn from place to place, blobs of saturated ones, and a fine grey grain."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    picture = np.stack([0.5 + 0.3 * np.sin(7 * x + 3 * c) * np.cos(5 * y - 2 * c) for c in range(3)], axis=-1)
    for _ in range(6):
        colour, (v, h), radius = rng.random(3), rng.random(2), 0.08 + 0.12 * rng.random()
        inside = np.exp(-(((y - v * height / max(height, width)) ** 2 + (x - h) ** 2) / radius**2) * 2)
        picture = picture * (1 - inside[..., None]) + inside[..., None] * (0.05 + 0.9 * colour)
    grain = 0.06 * np.sin(150 * x + 9 * y) * np.sin(130 * y - 11 * x)
    return np.clip(picture + grain[..., None], 0.02, 0.98)


def matrix_of(name: str) -> np.ndarray:
    """From Y, Cb, Cr (Y 0 to 1, the others about 0) to RGB from 0 to 1."""
    kr, kb = KR_KB[name]
    kg = 1 - kr - kb
    return np.array([[1, 0, 2 * (1 - kr)], [1, -2 * kb * (1 - kb) / kg, -2 * kr * (1 - kr) / kg], [1, 2 * (1 - kb), 0]])


def triangle(count: int, wanted: int, known: int, step: float = 1, offset: float = 0) -> np.ndarray:
    """Weights [wanted, known] of a triangle filter from samples at ``offset + k * step`` of a row of ``count``."""
    at = ((np.arange(wanted) + 0.5) * count / wanted - 0.5 - offset) / step
    reach = max(1.0, count / wanted / step)
    places = np.arange(-int(2 * reach) - 4, known + int(2 * reach) + 4)
    weights = np.clip(1 - np.abs(places[None] - at[:, None]) / reach, 0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    out = np.zeros((wanted, known))
    for column, sample in enumerate(np.clip(places, 0, known - 1)):  # the edge goes on beyond itself
        out[:, sample] += weights[:, column]
    return out


def resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    down, across = (
        triangle(picture.shape[0], height, picture.shape[0]),
        triangle(picture.shape[1], width, picture.shape[1]),
    )
    return np.einsum("ih,hwc,jw->ijc", down, picture, across, optimize=True)


def to_planes(picture: np.ndarray, look: Look) -> list[np.ndarray]:
    """RGB from 0 to 1 as Y, Cb and Cr samples; chroma lies at the left of its pixels, as H.264 has it by default."""
    values = picture @ np.linalg.inv(matrix_of(look.matrix)).T
    down, across = STEPS[look.chroma]
    chroma = values[..., 1:]
    if across == 2:
        wide = np.pad(chroma, ((0, 0), (1, 1), (0, 0)), "edge")
        chroma = ((wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / 4)[:, ::2]
    if down == 2:
        chroma = (chroma[::2] + chroma[1::2]) / 2
    scale, most = 1 << (look.bits - 8), (1 << look.bits) - 1
    luma = values[..., 0] * most if look.full else (16 + 219 * values[..., 0]) * scale
    chroma = chroma * most + 128 * scale if look.full else (128 + 224 * chroma) * scale
    kind = np.uint8 if look.bits == 8 else np.uint16
    return [np.rint(plane).astype(kind) for plane in (luma, chroma[..., 0], chroma[..., 1])]


def to_rgb(planes: list[np.ndarray], look: Look) -> np.ndarray:
    """The samples as RGB, 0 to 255, in floating point, at full resolution."""
    scale, most = 1 << (look.bits - 8), (1 << look.bits) - 1
    height, width = planes[0].shape
    down, across = STEPS[look.chroma]
    rows = triangle(height, height, planes[1].shape[0], down, (down - 1) / 2)
    columns = triangle(width, width, planes[1].shape[1], across)
    values = [planes[0].astype(float), *(rows @ plane.astype(float) @ columns.T for plane in planes[1:])]
    if look.full:
        values = [values[0] / most, *((value - 128 * scale) / most for value in values[1:])]
    else:
        values = [(values[0] / scale - 16) / 219, *((value / scale - 128) / 224 for value in values[1:])]
    return np.clip(255 * np.stack(values, axis=-1) @ matrix_of(look.matrix).T, 0, 255)


def make_frame(planes: list[np.ndarray], look: Look, tagged: bool = True) -> av.VideoFrame:
    """A video frame of these samples."""
    frame = av.VideoFrame(planes[0].shape[1], planes[0].shape[0], look.pixel_format)
    for plane, samples in zip(frame.planes, planes, strict=True):
        rows = np.ascontiguousarray(samples).view(np.uint8)
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: len(rows), : rows.shape[1]] = rows
    if tagged:
        frame.colorspace, frame.color_range = MATRIX_NUMBERS[look.matrix], 2 if look.full else 1
    return frame


def write_planes(
    path: Path,
    frames: list[list[np.ndarray]],
    look: Look,
    *,
    tagged: bool = True,
    codec: str = "libx264",
    **tags: object,
) -> Path:
    """A lossless video of these samples; ``tags`` are attributes of the encoder, such as ``color_trc``."""
    lossless = {"libx264": {"qp": "0", "preset": "ultrafast"}, "libx265": {"x265-params": "lossless=1:log-level=none"}}
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25, options=lossless.get(codec, {}))
        stream.height, stream.width = frames[0][0].shape
        stream.pix_fmt = look.pixel_format
        context = stream.codec_context
        if tagged:
            context.colorspace, context.color_range = MATRIX_NUMBERS[look.matrix], 2 if look.full else 1
        for name, value in tags.items():
            setattr(context, name, value)
        for planes in frames:
            container.mux(stream.encode(make_frame(planes, look, tagged)))
        container.mux(stream.encode(None))
    return path


def psnr(ours: np.ndarray, exact: np.ndarray) -> float:
    """Peak signal to noise ratio in dB, of levels from 0 to 255."""
    return float(10 * np.log10(255**2 / np.mean((ours.astype(float) - exact) ** 2)))


def bias(ours: np.ndarray, exact: np.ndarray) -> float:
    """The largest mean difference of a channel, in levels."""
    return float(np.abs((ours.astype(float) - exact).mean(axis=(0, 1))).max())


def expected(rgb: np.ndarray, size: tuple[int, int], turns: int = 0, aspect: float = 1.0) -> np.ndarray:
    """RGB scaled to cover ``size``, upright and cropped."""
    placement = place(rgb.shape[:2], aspect, turns, size)
    upright = np.rot90(resize(rgb, *placement.scaled), placement.turns)
    return upright[placement.top : placement.top + size[0], placement.left : placement.left + size[1]]
