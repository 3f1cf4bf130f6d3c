"""Metrics of cosines between features: alignment with an image or a text, and consistency over time.

Features of any length: only their directions count.
"""

import numpy as np
from jaxtyping import Float

_CLIPSCORE_WEIGHT = 2.5
_CLOSEST, _MEAN, _LEAST = 0.4, 0.3, 0.3  # weights of VBench-I2V


def cosines(
    frames: Float[np.ndarray, "t d"], other: Float[np.ndarray, "t d"] | Float[np.ndarray, " d"]
) -> Float[np.ndarray, " t"]:
    """The cosine of each frame's features with another's, or with those of one image or text; -1 to 1."""
    return np.asarray((_unit(frames) * _unit(other)).sum(-1))


def mean_cosine(frames: Float[np.ndarray, "t d"], other: Float[np.ndarray, " d"]) -> float:
    """The mean over the frames of the cosine with an image or a text; -1 to 1."""
    return float(cosines(frames, other).mean())


def image_alignment(frames: Float[np.ndarray, "t d"], image: Float[np.ndarray, " d"]) -> float:
    """Animate Bench: 100 times the mean cosine with the condition image; at most 100."""
    return 100 * mean_cosine(frames, image)


def text_alignment(frames: Float[np.ndarray, "t d"], text: Float[np.ndarray, " d"]) -> float:
    """Animate Bench: 100 times the mean CLIPScore, 2.5 max(cosine, 0), of Hessel et al. 2021; 0 to 250."""
    return 100 * _CLIPSCORE_WEIGHT * float(_positive(cosines(frames, text)).mean())


def consistency(frames: Float[np.ndarray, "t d"]) -> float:
    """VBench: the mean of max(cosine, 0) with the frame before and with the first frame; 0 to 1, 1 is still.

    Subject consistency with DINO features, background consistency with CLIP's. At least two frames.
    """
    before = _positive(cosines(frames[1:], frames[:-1]))
    first = _positive(cosines(frames[1:], frames[0]))
    return float((before + first).mean() / 2)


def image_consistency(frames: Float[np.ndarray, "t d"], image: Float[np.ndarray, " d"]) -> float:
    """VBench-I2V: 0.4 closest + 0.3 mean + 0.3 least; 0 to 1.

    ``closest`` is the greatest max(cosine, 0) of a frame with the image; the others are the mean and the least
    max(cosine, 0) with the frame before. At least two frames.
    """
    closest = _positive(cosines(frames, image)).max()
    before = _positive(cosines(frames[1:], frames[:-1]))
    return float(_CLOSEST * closest + _MEAN * before.mean() + _LEAST * before.min())


def _unit(features: Float[np.ndarray, "... d"]) -> Float[np.ndarray, "... d"]:
    wide = features.astype(np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=-1, keepdims=True))


def _positive(values: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
    return np.asarray(np.maximum(values, 0))
