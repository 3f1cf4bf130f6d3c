import numpy as np
import torch
from skimage.metrics import structural_similarity

from pipeline.motion.similarity import adjacent_ssim, luma


def test_against_scikit_image() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (64, 80)).astype(np.float32)
    frames = np.stack([base, base + rng.normal(0, 10, base.shape), base[::-1]]).astype(np.float32)
    ours = adjacent_ssim(torch.from_numpy(frames))
    for step in range(2):
        _, full = structural_similarity(
            frames[step],
            frames[step + 1],
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        assert abs(float(ours[step]) - full[5:-5, 5:-5].mean()) < 1e-4


def test_still_frames() -> None:
    assert torch.allclose(adjacent_ssim(torch.full((3, 32, 32), 90.0)), torch.ones(2))


def test_luma() -> None:
    pixels = torch.tensor([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], dtype=torch.uint8)
    torch.testing.assert_close(luma(pixels)[0], torch.tensor([76.245, 149.685, 29.07, 255.0]))
