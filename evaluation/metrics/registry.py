"""The metrics: what each is computed from, and by which formula. A new one is one line in ``METRICS``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from dataset.heatmap.normalisation import Normalisation
from evaluation.metrics.formulas import motion, similarity

Group = Literal["Animate Bench", "VBench-I2V", "motion"]


@dataclass(frozen=True)
class Metric:
    """A number for a video, from observations of it (:mod:`evaluation.metrics.observe`) in the order of ``needs``."""

    name: str
    group: Group
    needs: tuple[str, ...]
    formula: Callable[..., float]
    about: str


def _heatmap_share(lengths: Float[np.ndarray, "s h w"]) -> float:
    """The share of pixels whose motion heatmap, by its default normalisation, is above 0.5."""
    normalisation = Normalisation()
    height, width = lengths.shape[1:]
    return motion.moving_share(lengths, normalisation.centre * normalisation.scale(height, width))


def _rating(ratings: Float[np.ndarray, " t"]) -> float:
    return float(ratings.mean()) / 10


METRICS = (
    Metric(
        "image_alignment", "Animate Bench", ("clip", "clip_image"), similarity.image_alignment,
        "100 x cosine of frames and condition image (CLIP)",
    ),
    Metric(
        "text_alignment", "Animate Bench", ("clip", "clip_text"), similarity.text_alignment,
        "100 x 2.5 x cosine of frames and prompt (CLIP)",
    ),
    Metric("image_cosine", "Animate Bench", ("clip", "clip_image"), similarity.mean_cosine, "the cosine itself"),
    Metric("text_cosine", "Animate Bench", ("clip", "clip_text"), similarity.mean_cosine, "the cosine itself"),
    Metric(
        "i2v_subject", "VBench-I2V", ("dino_cropped", "dino_image"), similarity.image_consistency,
        "frames like the condition image and like each other (DINO)",
    ),
    Metric(
        "subject_consistency", "VBench-I2V", ("dino_whole",), similarity.consistency, "frames like each other (DINO)"
    ),
    Metric(
        "background_consistency", "VBench-I2V", ("clip_aliased",), similarity.consistency,
        "frames like each other (CLIP)",
    ),
    Metric(
        "temporal_flickering", "VBench-I2V", ("frames",), motion.temporal_flickering,
        "1 - mean difference of neighbouring frames",
    ),
    Metric("dynamic_degree", "VBench-I2V", ("raft_8fps",), motion.dynamic_degree, "share of videos that move (RAFT)"),
    Metric("aesthetic_quality", "VBench-I2V", ("ratings",), _rating, "LAION's rating of the frames, 0 to 1"),
    Metric("dynamic_degree_dis", "motion", ("dis_8fps",), motion.dynamic_degree, "the same by DIS flow, not VBench's"),
    Metric("mean_intensity", "motion", ("dis",), motion.mean_intensity, "mean length of DIS flow, pixels per frame"),
    Metric("moving_share", "motion", ("dis",), _heatmap_share, "share of pixels whose heatmap is above 0.5 (DIS)"),
    Metric("static_share", "motion", ("dis",), motion.static_share, "share of steps in which nothing moves (DIS)"),
)  # fmt: skip

ELSEWHERE = {
    "i2v_background": "it needs DreamSim, which is not a part of motif",
    "motion_smoothness": "it needs AMT, which is not a part of motif",
    "imaging_quality": "it needs MUSIQ, which is not a part of motif",
    "camera_motion": "it needs CoTracker, which is not a part of motif",
}
"""The other metrics of VBench-I2V, and why they are not computed."""
