"""Metrics of change by hand."""

import numpy as np
import pytest

from evaluation.metrics.formulas.motion import (
    dynamic_degree,
    frame_step,
    mean_intensity,
    moving_share,
    static_share,
    temporal_flickering,
    top_speeds,
)
from evaluation.metrics.registry import METRICS

SIDE = 256
TOP = int(SIDE * SIDE * 0.05)


def flow(*steps: tuple[float, int], side: int = SIDE) -> np.ndarray:
    """Lengths of flow: for each step, so many pixels move by a length; the others are still."""
    lengths = np.zeros((len(steps), side * side), np.float32)
    for step, (length, pixels) in enumerate(steps):
        lengths[step, :pixels] = length
    return lengths.reshape(len(steps), side, side)


def test_flickering_is_the_mean_difference_of_neighbours() -> None:
    frames = np.zeros((3, 2, 2, 3), np.uint8)
    frames[1, 0, 0, 0] = 240  # one of twelve values, there and back: 240 / 12 = 20 levels in both steps
    assert temporal_flickering(frames) == pytest.approx((255 - 20) / 255)
    frames[2] = 255  # then 255 for eleven values and 15 for one
    assert temporal_flickering(frames) == pytest.approx((255 - (20 + (11 * 255 + 15) / 12) / 2) / 255)


def test_flickering_does_not_wrap_around() -> None:
    black, white = np.zeros((1, 4, 4, 3), np.uint8), np.full((1, 4, 4, 3), 255, np.uint8)
    assert temporal_flickering(np.concatenate([black, white, black])) == 0


def test_identical_frames() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), np.uint8).repeat(16, axis=0)
    assert temporal_flickering(frames) == 1.0
    still = np.zeros((15, 16, 16), np.float32)
    assert dynamic_degree(still) == 0
    assert static_share(still) == 1
    assert mean_intensity(still) == moving_share(still, 0.0) == 0


@pytest.mark.parametrize(("fps", "step"), [(4, 1), (8, 1), (11.9, 1), (16, 2), (24, 3), (25, 3), (30, 4)])
def test_about_eight_frames_a_second_are_looked_at(fps: float, step: int) -> None:
    assert frame_step(fps) == step


def test_the_speed_of_a_step_is_that_of_its_fastest_twentieth() -> None:
    assert TOP == 3276
    assert top_speeds(flow((10, TOP), (10, TOP // 2), (10, 2 * TOP))) == pytest.approx([10, 5, 10])
    lengths = np.random.default_rng(0).exponential(3, (4, 40, 52)).astype(np.float32)
    by_sorting = [np.sort(step.ravel())[::-1][: int(40 * 52 * 0.05)].mean() for step in lengths]
    assert top_speeds(lengths) == pytest.approx(by_sorting, rel=1e-6)


def test_a_step_moves_above_six_pixels_at_256() -> None:
    assert dynamic_degree(flow((6.0, TOP))) == 0
    assert dynamic_degree(flow((6.01, TOP))) == 1
    assert dynamic_degree(flow((6.01, TOP - 30))) == 0
    assert dynamic_degree(flow((11.9, 512 * 512), side=512)) == 0
    assert dynamic_degree(flow((12.1, 512 * 512), side=512)) == 1
    wide = np.full((1, 64, 512), 1.51, np.float32)  # the short side counts: 6 x 64 / 256 = 1.5
    assert dynamic_degree(wide) == 1


@pytest.mark.parametrize(("frames", "wanted"), [(16, 4), (8, 2), (10, 2), (14, 4), (49, 12), (2, 1), (3, 1)])
def test_a_video_moves_if_a_quarter_of_its_frames_do(frames: int, wanted: int) -> None:
    """round(4 n / 16) steps, with halves to even as in VBench; but at least one."""
    steps = [(7.0, 20)] * wanted + [(0.0, 0)] * (frames - 1 - wanted)
    assert dynamic_degree(flow(*steps, side=16)) == 1
    assert dynamic_degree(flow((0.0, 0), *steps[1:], side=16)) == 0


def test_no_step_at_all_is_no_motion() -> None:
    """Two frames at 16 per second: one of them is looked at."""
    assert dynamic_degree(np.zeros((0, 16, 16), np.float32)) == 0


def test_a_step_is_static_if_fewer_than_one_in_a_thousand_pixels_move() -> None:
    assert static_share(flow((0.51, 66), (0.51, 65), (0.49, SIDE * SIDE), (9, 60))) == 0.75
    assert static_share(flow((0.9, 512 * 512), side=512)) == 1


def test_mean_and_share() -> None:
    lengths = flow((4.0, SIDE * SIDE // 2), (0.0, 0))
    assert mean_intensity(lengths) == 1
    assert moving_share(lengths, 3.9) == 0.25
    assert moving_share(lengths, 4.0) == 0


def test_the_moving_share_is_that_of_the_datasets_heatmaps() -> None:
    """The share of pixels whose heatmap is above 0.5, which a dataset's column of this name has."""
    import torch

    from dataset.heatmap.heatmap import sigmoid_heatmap
    from dataset.heatmap.normalisation import Normalisation

    lengths = np.random.default_rng(0).exponential(3, (3, 40, 56)).astype(np.float32)
    heat = sigmoid_heatmap(Normalisation(), torch.from_numpy(lengths)[None], 40, 56)
    (metric,) = (metric for metric in METRICS if metric.name == "moving_share")
    assert metric.formula(lengths) == pytest.approx((heat > 0.5).float().mean().item(), abs=1e-6)
    assert 0.05 < metric.formula(lengths) < 0.95
