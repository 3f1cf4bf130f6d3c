"""Cosine metrics by hand: all angles are of 3-4-5 triangles, so every cosine is 1, 0.8, 0.6 or 0."""

import numpy as np
import pytest

from evaluation.metrics.formulas.similarity import (
    consistency,
    cosines,
    image_alignment,
    image_consistency,
    mean_cosine,
    text_alignment,
)

FRAMES = np.array([[1, 0], [3, 4], [0, 2]], np.float32)  # of any length
IMAGE = np.array([5, 0], np.float32)
TEXT = np.array([0, 1], np.float32)


def test_alignment_is_the_mean_cosine_on_the_scales_of_the_paper() -> None:
    assert mean_cosine(FRAMES, IMAGE) == pytest.approx((1 + 0.6 + 0) / 3)
    assert image_alignment(FRAMES, IMAGE) == pytest.approx(100 * 1.6 / 3)
    assert text_alignment(FRAMES, TEXT) == pytest.approx(100 * 2.5 * (0 + 0.8 + 1) / 3)


def test_only_the_scaled_text_alignment_cuts_negative_cosines() -> None:
    against = np.array([-3, -4], np.float32)
    assert mean_cosine(FRAMES, against) == pytest.approx(-(0.6 + 1 + 0.8) / 3)
    assert image_alignment(FRAMES, against) == pytest.approx(-80)
    assert text_alignment(FRAMES, against) == 0


def test_a_cosine_of_the_published_text_alignment() -> None:
    """The paper's 66 to 69 are cosines of 0.264 to 0.276, as CLIP has them for pictures and their captions."""
    frames = np.array([[0.27, np.sqrt(1 - 0.27**2)]])
    assert text_alignment(frames, np.array([1.0, 0.0])) == pytest.approx(67.5)


def test_consistency_compares_with_the_frame_before_and_with_the_first() -> None:
    before, first = (0.6, 0.8), (0.6, 0.0)
    assert consistency(FRAMES) == pytest.approx((before[0] + first[0] + before[1] + first[1]) / 4)


def test_consistency_takes_opposite_frames_for_unlike_ones() -> None:
    assert consistency(np.array([[1.0, 0.0], [-1.0, 0.0]])) == 0


def test_image_consistency_has_the_weights_of_vbench() -> None:
    image = np.array([0, 3], np.float32)
    assert image_consistency(FRAMES, image) == pytest.approx(0.4 * 1 + 0.3 * 0.7 + 0.3 * 0.6)
    away = np.array([-1, -1], np.float32)
    assert image_consistency(FRAMES, away) == pytest.approx(0.3 * 0.7 + 0.3 * 0.6)


def test_frames_that_are_all_like_the_image_have_the_greatest_values() -> None:
    still = np.repeat(np.random.default_rng(0).normal(size=(1, 9)).astype(np.float32), 4, axis=0)
    assert consistency(still) == pytest.approx(1)
    assert image_consistency(still, still[0]) == pytest.approx(1)
    assert image_alignment(still, still[0]) == pytest.approx(100)


def test_against_torchs_cosine_similarity_pair_by_pair() -> None:
    """The loop of VBench's papers, written with torch."""
    import torch
    from torch.nn.functional import cosine_similarity

    features = torch.randn(7, 12, generator=torch.Generator().manual_seed(0))
    image = torch.randn(12, generator=torch.Generator().manual_seed(1))
    near, total = [], 0.0
    for at in range(1, 7):
        near.append(max(0.0, cosine_similarity(features[at - 1], features[at], dim=0).item()))
        total += (near[-1] + max(0.0, cosine_similarity(features[0], features[at], dim=0).item())) / 2
    conform = [max(0.0, cosine_similarity(image, row, dim=0).item()) for row in features]
    assert consistency(features.numpy()) == pytest.approx(total / 6, rel=1e-5)
    expected = 0.4 * max(conform) + 0.3 * np.mean(near) + 0.3 * min(near)
    assert image_consistency(features.numpy(), image.numpy()) == pytest.approx(expected, rel=1e-5)
    assert cosines(features.numpy(), image.numpy()) == pytest.approx(
        cosine_similarity(features, image[None]).numpy(), abs=1e-5
    )
