"""How spans were drawn before they were drawn many at once: those of datasets must stay what they are."""

import hashlib
import struct

from pipeline.video.sampling import Sampling, Span


def draw_alone(sampling: Sampling, content: str, number: int, frames: tuple[int, int]) -> Span | None:
    """The span of one clip, in plain integers; None if the video is too short."""
    low, high = frames
    length, available = sampling.frames, high - low
    if (length - 1) * sampling.min_stride + 1 > available:
        return None
    key = f"{sampling.seed}:{sampling.min_stride}:{sampling.max_stride}:{length}:{content}:{low}:{high}:{number}"
    draws = struct.unpack("<2Q", hashlib.blake2b(key.encode(), digest_size=16).digest())
    stride = sampling.min_stride + draws[0] % (sampling.max_stride - sampling.min_stride + 1)
    if (length - 1) * stride + 1 > available:
        stride = max(sampling.min_stride, available // length)
    room = available - (length - 1) * stride
    with_next = room - stride
    return Span(low + draws[1] % max(1, with_next if with_next > 0 else room), stride)
