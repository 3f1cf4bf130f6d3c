"""Make video files with the properties that tests need."""

import contextlib
import os
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation


def pictures(count: int, height: int, width: int) -> np.ndarray:
    """Frames that can be told apart: a grey ramp, a white bar at a place, and the frame's number as its brightness.

    The mean of the lower left quarter is 40 + 5 * number.
    """
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[:, : height // 2] = np.linspace(30, 200, width).astype(np.uint8)[None, None, :, None]
    for number in range(count):
        frames[number, height // 2 :, : width // 2] = 40 + 5 * number
        frames[number, height // 2 :, width // 2 :] = (200, 40, 40)
    return frames


def number_of(frame: np.ndarray) -> int:
    """The number that :func:`pictures` put into a frame of any size."""
    return round(brightness_number(frame))


def brightness_number(frame: np.ndarray) -> float:
    """The same, before rounding: lossy codecs shift the brightness a little."""
    height, width = frame.shape[:2]
    patch = frame[int(height * 0.6) : int(height * 0.9), int(width * 0.1) : int(width * 0.4)]
    return (float(patch.mean()) - 40) / 5


@contextlib.contextmanager
def same_scheduling() -> Iterator[None]:
    """SVT-AV1, run by root, makes its caller's thread a real-time one; each process started later would be one, too.

    Such processes take a processor from all others, for as long as they compute.
    """
    if not hasattr(os, "sched_setscheduler"):  # not Linux
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def write(
    path: Path,
    frames: np.ndarray,
    *,
    fps: int = 25,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    times: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    aspect: Fraction | None = None,
) -> Path:
    """Encode frames; ``times`` are presentation times in milliseconds."""
    with same_scheduling(), av.open(path, "w") as container:
        # Good enough that the number of a frame can be read from its brightness.
        fine = {"crf": "5", "preset": "8"} if codec == "libsvtav1" else {}
        stream = container.add_stream(codec, rate=fps, options=fine | (options or {}))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixel_format
        if not fine:
            stream.bit_rate = 10_000_000
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
            frame = frame.reformat(
                format=pixel_format, interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND
            )
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_audio(path: Path) -> Path:
    """A file with sound and no picture."""
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def rotate(path: Path, degrees_clockwise: int) -> Path:
    """Set the display matrix in an mp4's track header, as phones do."""
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees_clockwise]
    return set_matrix(path, (cosine, sine, -sine, cosine))


def set_matrix(path: Path, matrix: tuple[float, float, float, float]) -> Path:
    """Set the display matrix in an mp4's track header: (a, b, c, d) takes a stored x, y to ax + cy, bx + dy."""
    a, b, c, d = (round(value * 65536) for value in matrix)
    data = bytearray(path.read_bytes())
    box = data.index(b"tkhd") + 4
    version = data[box]
    start = box + (4 + 32 if version else 4 + 20) + 16
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path
