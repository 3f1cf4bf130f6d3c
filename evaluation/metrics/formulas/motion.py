"""Metrics of change: by the pixels of neighbouring frames, or by the lengths of the flow between them, in pixels."""

import itertools

import numpy as np
from jaxtyping import Float, UInt8

_RATE = 8.0  # frames per second at which VBench looks at motion
_FAST, _SLOW = 6.0, 0.5  # pixels of a frame whose short side has 256
_SHORT_SIDE = 256
_TOP = 0.05
_STILL = 1e-3


def temporal_flickering(frames: UInt8[np.ndarray, "t h w 3"]) -> float:
    """VBench: (255 - mean absolute difference of neighbouring frames) / 255; 0 to 1, 1 is still.

    At least two frames.
    """
    differences = [np.abs(after.astype(np.int16) - before).mean() for before, after in itertools.pairwise(frames)]
    return (255 - float(np.mean(differences))) / 255


def frame_step(fps: float) -> int:
    """VBench: every how many frames are looked at for :func:`dynamic_degree`, about eight per second."""
    return max(1, round(fps / _RATE))


def top_speeds(lengths: Float[np.ndarray, "s h w"]) -> Float[np.ndarray, " s"]:
    """VBench: the mean length of the fastest 5 % of the pixels, for each pair of frames."""
    pairs, height, width = lengths.shape
    count = max(1, int(height * width * _TOP))
    fastest = np.partition(lengths.reshape(pairs, height * width), -count, axis=1)[:, -count:]
    return np.asarray(fastest.mean(axis=1, dtype=np.float64))


def dynamic_degree(lengths: Float[np.ndarray, "s h w"]) -> float:
    """VBench: 1 if the video moves, else 0.

    It does if the fastest 5 % of the pixels move by more than 6 min(h, w) / 256 pixels in at least round(4 n / 16) of
    the pairs of n frames. At least one pair must, also in videos of two frames, which VBench takes for moving always.
    """
    least = _FAST * min(lengths.shape[1:]) / _SHORT_SIDE
    wanted = max(1, round(4 * (len(lengths) + 1) / 16))
    return float((top_speeds(lengths) > least).sum() >= wanted)


def mean_intensity(lengths: Float[np.ndarray, "s h w"]) -> float:
    """The mean length of the flow, in pixels per frame."""
    return float(lengths.mean(dtype=np.float64))


def moving_share(lengths: Float[np.ndarray, "s h w"], least: float) -> float:
    """The share of pixels that move by more than ``least``, over all pairs of frames; 0 to 1."""
    return float((lengths > least).mean())


def static_share(lengths: Float[np.ndarray, "s h w"]) -> float:
    """The share of pairs of frames between which nothing moves; 0 to 1, 1 is a still video.

    Nothing does if less than 0.1 % of the pixels move by more than half a pixel of a frame with a short side of 256.
    """
    least = _SLOW * min(lengths.shape[1:]) / _SHORT_SIDE
    return float(((lengths > least).mean(axis=(1, 2)) < _STILL).mean())
