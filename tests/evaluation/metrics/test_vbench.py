"""Our values of VBench's metrics equal those that its own functions computed (vbench 0.1.5 from PyPI).

They were called on these frames as float tensors, which is what they decode videos to, with a small network in the
place of theirs: ``subject_consistency``, ``background_consistency``, ``laion_aesthetic``, ``mae_seq``, VBench-I2V's
``i2v_subject``, and of ``DynamicDegree`` ``get_score``, ``set_params`` and ``check_move``. The package itself needs
NumPy 1 and cannot be installed here.
"""

import numpy as np
import pytest
import torch

from evaluation.metrics.formulas.motion import dynamic_degree, top_speeds
from evaluation.metrics.networks.aesthetic import Aesthetic
from evaluation.metrics.networks.clip import Clip
from evaluation.metrics.networks.dino import Dino
from evaluation.metrics.observe import ClipObserver, Decoded, DinoObserver, RatingObserver, observe_frames
from evaluation.metrics.registry import METRICS
from tests.evaluation.metrics.pooled import AsClip, AsDino, pooled_frames, rating_layer

CPU = torch.device("cpu")
VALUES = {
    (320, 512): {
        "subject_consistency": 0.2864422559738159,
        "background_consistency": 0.284135639667511,
        "aesthetic_quality": 0.47181668877601624,
        "i2v_subject": 0.3271752417087555,
        "temporal_flickering": 0.75907169416839,
    },
    (512, 320): {
        "subject_consistency": 0.28483636379241944,
        "background_consistency": 0.28714866042137144,
        "aesthetic_quality": 0.4816022217273712,
        "i2v_subject": 0.3351942300796509,
        "temporal_flickering": 0.7584925034466912,
    },
    (256, 256): {
        "subject_consistency": 0.2677746057510376,
        "background_consistency": 0.2667286038398743,
        "aesthetic_quality": 0.43598151206970215,
        "i2v_subject": 0.2946431267261505,
        "temporal_flickering": 0.7623165355009192,
    },
    (180, 300): {
        "subject_consistency": 0.2530418038368225,
        "background_consistency": 0.2621092557907104,
        "aesthetic_quality": 0.44127655029296875,
        "i2v_subject": 0.2891415393352509,
        "temporal_flickering": 0.7639581717696844,
    },
}
SPEEDS = {
    0: (3.076938, True),
    1: (2.58069, True),
    2: (1.585338, False),
    3: (0.897107, False),
    4: (4.261059, True),
    5: (3.719727, True),
    6: (2.672838, True),
    7: (3.016089, True),
    8: (1.845976, False),
    9: (4.00119, True),
    10: (4.330212, True),
    11: (1.063608, False),
}


def words(texts: list[str]) -> torch.Tensor:
    return torch.zeros(1, 2)


@pytest.mark.parametrize("size", VALUES, ids=str)
def test_the_values_are_vbenchs(size: tuple[int, int]) -> None:
    clip = Clip(AsClip(), words, CPU, 4)
    dino = Dino(AsDino(), CPU, 4)
    image = pooled_frames(*size, count=1, seed=1)[0]
    video = Decoded(pooled_frames(*size), 8.0, "a prompt", image)
    observed: dict[str, np.ndarray] = {}
    for observer in (
        observe_frames,
        ClipObserver(clip),
        DinoObserver(dino),
        RatingObserver(Aesthetic(*rating_layer()), clip),
    ):
        observed.update(observer(video)[0])
    ours = {
        metric.name: metric.formula(*(observed[need] for need in metric.needs))
        for metric in METRICS
        if metric.name in VALUES[size]
    }
    for name, expected in VALUES[size].items():
        # Its image is resized by Pillow to whole levels, ours like the frames.
        assert ours[name] == pytest.approx(expected, abs=2e-3 if name == "i2v_subject" else 2e-6), name


@pytest.mark.parametrize("seed", SPEEDS)
def test_the_dynamic_degree_is_vbenchs(seed: int) -> None:
    lengths = flow_lengths(seed)
    speed, moves = SPEEDS[seed]
    assert top_speeds(lengths).mean() == pytest.approx(speed, abs=1e-5)
    assert dynamic_degree(lengths) == moves


def flow_lengths(seed: int) -> np.ndarray:
    """Lengths of noise of different sizes, lengths and strengths."""
    generator = np.random.default_rng(seed)
    height, width = [(64, 96), (128, 64), (80, 80)][seed % 3]
    frames = (16, 8, 11, 24)[seed % 4]
    scale = generator.uniform(0.2, 1.6)
    flow = generator.normal(0, scale, (frames - 1, 2, height, width)).astype(np.float32)
    return np.asarray(np.hypot(flow[:, 0], flow[:, 1]))
