"""Frames to mp4: H.264, 4:2:0, playable in every browser."""

import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8


def encode_video(
    frames: UInt8[np.ndarray, "t h w 3"], fps: float, *, crf: int = 18, metadata: dict[str, str] | None = None
) -> bytes:
    """Encode RGB frames as an mp4 file with the index in front (faststart).

    Args:
        frames: uint8 RGB, 0 to 255; height and width even.
        fps: frames a second.
        crf: x264's quality, 0 (lossless) to 51.
        metadata: tags of the container.

    The same frames give the same bytes: one thread, no clock.
    """
    t, height, width, _ = frames.shape
    if t == 0 or height % 2 or width % 2:
        raise ValueError(f"frames of {t} x {height} x {width}: needs at least one frame and even sides")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"  # moving the index to the front reopens the file by its name
        with av.open(path, "w", format="mp4", options={"movflags": "+faststart+use_metadata_tags"}) as container:
            container.metadata.update(metadata or {})
            rate = Fraction(fps).limit_denominator(1001)
            stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "medium"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.thread_count = 1
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")))
            container.mux(stream.encode(None))
        return path.read_bytes()


def write_video(path: Path, frames: UInt8[np.ndarray, "t h w 3"], fps: float, *, crf: int = 18) -> None:
    """Write RGB frames as an mp4 file; see :func:`encode_video`."""
    path.write_bytes(encode_video(frames, fps, crf=crf))
