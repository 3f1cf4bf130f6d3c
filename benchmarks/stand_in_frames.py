"""A decoder that opens no video: for benchmarks of all that surrounds decoding. It runs in the decode process."""

import numpy as np
from jaxtyping import UInt8

from pipeline.video.decoders import Request
from pipeline.video.errors import VideoError

FAIL_EVERY = 97
"""Of as many videos one cannot be decoded."""


def fill(request: Request, out: UInt8[np.ndarray, "t h w 3"]) -> None:
    """Fill the frames with one grey, which the number in the file's name decides."""
    number = int(request.path.stem)
    if number % FAIL_EVERY == 0:
        raise VideoError("BrokenVideo", "it stands for a video that cannot be decoded")
    out[:] = number % 256
