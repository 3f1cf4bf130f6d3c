"""Nine containers whose seeking is hard, each with the frame's number as a barcode in the picture."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from tests.videos import write

COUNT = 182
"""Frames of each container: 167 spans of 16 frames."""
BITS = 8

_X264 = {"g": "24", "bf": "3", "sc_threshold": "0"}
# name -> (suffix, encoder, options): all of them made PyAV's own seek, or a decoder that counts from there, give other
# frames than those asked for.
CONTAINERS: dict[str, tuple[str, str, dict[str, str]]] = {
    "open-gop": (".mp4", "libx264", _X264 | {"x264-params": "open-gop=1:b-adapt=0"}),
    "hevc": (".mov", "libx265", {"x265-params": "keyint=24:bframes=4:open-gop=1:log-level=none"}),
    "mpeg4": (".mp4", "mpeg4", {"g": "24", "bf": "2"}),
    "mpeg4-avi": (".avi", "mpeg4", {"g": "24", "bf": "2"}),
    "program-stream": (".mpg", "mpeg2video", {"g": "15", "bf": "2"}),
    "transport-stream": (".ts", "libx264", _X264),
    "intra-refresh": (".mp4", "libx264", {"g": "24", "x264-params": "intra-refresh=1:bframes=2"}),
    "b-frames": (".mov", "libx264", _X264),
    "vp9": (".webm", "libvpx-vp9", {"g": "24", "deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "1"}),
}


def barcodes(count: int = COUNT, size: int = 64) -> np.ndarray:
    """Frames ``[n size size 3]`` with a moving texture and the number in two rows of bars, the second one inverted."""
    y, x = np.mgrid[:size, :size]
    frames = np.empty((count, size, size, 3), np.uint8)
    for number in range(count):
        texture = 96 + 40 * np.sin((x + 3 * number) / 7) + 40 * np.cos((y * 2 - number) / 9)
        frames[number] = texture[..., None]
        frames[number, : size // 2] = np.kron(_bars(number), np.ones((size // 4, size // BITS)))[..., None]
    return frames


def _bars(number: int) -> np.ndarray:
    bits = np.array([number >> bit & 1 for bit in range(BITS)])
    return np.stack([bits, 1 - bits]) * 190 + 30


def read_barcode(frame: np.ndarray) -> int | None:
    """The number that :func:`barcodes` put into a frame of any size; None where the bars contradict each other."""
    height, width = frame.shape[0] // 4, frame.shape[1] // BITS
    bars = frame[: 2 * height, : BITS * width].mean(axis=2).reshape(2, height, BITS, width)
    levels = bars[:, height // 4 : -(height // 4), :, width // 4 : -(width // 4)].mean(axis=(1, 3))
    bits = levels > 125
    if (bits[0] == bits[1]).any():
        return None
    return int(sum(int(bit) << place for place, bit in enumerate(bits[0])))


def write_container(folder: Path, name: str, *, times: Sequence[int] | None = None) -> Path:
    """One of :data:`CONTAINERS`."""
    suffix, codec, options = CONTAINERS[name]
    return write(folder / f"{name}{suffix}", barcodes(), codec=codec, options=options, times=times)


def decode_all(path: Path) -> list[av.VideoFrame]:
    """Every frame from the file's start to its end, in the order of the decoder and with no seek."""
    with av.open(path) as container:
        container.streams.video[0].thread_type = "NONE"
        return list(container.decode(video=0))
