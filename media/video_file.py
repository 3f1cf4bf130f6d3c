"""Encodes frames as mp4 (H.264, 4:2:0, playable in every browser) or as a looping GIF."""

import io
import itertools
import json
import math
import tempfile
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from jaxtyping import UInt8
from PIL import Image

_PALETTE_PIXELS = 2**18  # sample for a GIF's palette: more take seconds without improving it

_BT709, _LIMITED = 1, 1  # as H.273 numbers matrix, primaries and transfer, and as FFmpeg numbers the range
_KR, _KB = np.float32(0.2126), np.float32(0.0722)


def encode(
    name: str, frames: UInt8[np.ndarray, "t h w 3"], fps: float, metadata: Mapping[str, str] | None = None
) -> bytes:
    """Encode RGB frames by the file's suffix: a GIF for ``.gif``, else an mp4."""
    if name.lower().endswith(".gif"):
        return encode_gif(frames, fps, metadata=metadata)
    return encode_video(frames, fps, metadata=metadata)


def encode_video(
    frames: UInt8[np.ndarray, "t h w 3"], fps: float, *, crf: int = 18, metadata: Mapping[str, str] | None = None
) -> bytes:
    """Encode RGB frames as an mp4 file with the index in front (faststart).

    Args:
        frames: uint8 RGB, 0 to 255; height and width even.
        fps: frames per second.
        crf: x264's quality, 0 (lossless) to 51.
        metadata: tags of the container; characters that UTF-8 or a C string cannot represent become "?".

    The same frames give the same bytes: one thread, no clock.
    """
    t, height, width, _ = frames.shape
    if t == 0 or height % 2 or width % 2:
        raise ValueError(f"frames of {t} x {height} x {width}: needs at least one frame and even sides")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"  # a real file, since faststart reopens it by name
        with av.open(path, "w", format="mp4", options={"movflags": "+faststart+use_metadata_tags"}) as container:
            container.metadata.update(_clean(metadata))
            rate = Fraction(fps).limit_denominator(1001)
            # x264's macroblock tree is sometimes not deterministic for small frames.
            settings = {"crf": str(crf), "preset": "medium", "x264-params": "mbtree=0"}
            stream = container.add_stream("libx264", rate=rate, options=settings)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.thread_count = 1
            _tag_bt709(stream.codec_context)
            for frame in frames:
                picture = av.VideoFrame.from_ndarray(_to_yuv420(frame), "yuv420p")
                _tag_bt709(picture)
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        return path.read_bytes()


def _tag_bt709(target: av.VideoFrame | VideoCodecContext) -> None:
    """Tag colours as BT.709 with limited range: untagged, small videos would be read as BT.601."""
    target.colorspace = target.color_primaries = target.color_trc = _BT709
    target.color_range = _LIMITED


def _to_yuv420(frame: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "_ w"]:
    """RGB as stacked planes Y, Cb and Cr: BT.709, section 3, in limited range.

    Chroma is sited left, the default of H.264: columns have the weights 1, 2, 1 and rows 1, 1.
    """
    red, green, blue = (frame[..., channel].astype(np.float32) / 255 for channel in range(3))
    luma = _KR * red + (1 - _KR - _KB) * green + _KB * blue
    planes = [16 + 219 * luma]
    for colour, weight in ((blue, _KB), (red, _KR)):
        full = np.pad((colour - luma) / (2 * (1 - weight)), ((0, 0), (1, 0)), "edge")
        columns = (full[:, :-2:2] + 2 * full[:, 1:-1:2] + full[:, 2::2]) / 4
        planes.append(128 + 112 * (columns[::2] + columns[1::2]))
    return np.concatenate([np.rint(plane).astype(np.uint8).ravel() for plane in planes]).reshape(-1, frame.shape[1])


def encode_gif(frames: UInt8[np.ndarray, "t h w 3"], fps: float, *, metadata: Mapping[str, str] | None = None) -> bytes:
    """Encode RGB frames as a looping GIF with a common palette of 256 colours, dithered.

    GIF durations are in hundredths of a second: frame ends are rounded from ``fps``, but no frame is shorter than two
    hundredths, which viewers would slow down. ``metadata`` is stored as JSON in the file's comment.
    """
    if len(frames) == 0:
        raise ValueError("a GIF needs at least one frame")
    apart = math.ceil(math.sqrt(frames[..., 0].size / _PALETTE_PIXELS))
    some = frames[:, ::apart, ::apart]
    montage = Image.fromarray(np.ascontiguousarray(some.reshape(-1, *some.shape[2:])))
    palette = montage.quantize(256, Image.Quantize.MEDIANCUT, kmeans=1)
    pictures = [Image.fromarray(np.ascontiguousarray(frame)).quantize(palette=palette) for frame in frames]
    ends = [round(100 * number / fps) for number in range(len(frames) + 1)]
    durations = [10 * max(2, end - start) for start, end in itertools.pairwise(ends)]
    out = io.BytesIO()
    pictures[0].save(
        out,
        "GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=durations,
        loop=0,
        comment=json.dumps(_clean(metadata), ensure_ascii=False).encode() if metadata else b"",
    )
    return out.getvalue()


def _clean(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Without lone surrogates, which invalid command line bytes become, and without zeros."""
    return {
        name: value.encode("utf-8", "replace").decode().replace("\0", "?") for name, value in (metadata or {}).items()
    }
