import pytest
import torch

from diffusion.frame_difference import FrameDifference

HEATMAP = torch.zeros(2, 3, 4, 4)


def test_the_formula() -> None:
    error = torch.randn((2, 4, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    found = FrameDifference(share=0.25)(error, HEATMAP, error)
    steps = error[:, :, 1:] - error[:, :, :-1]
    expected = 0.75 * (error**2).mean(dim=(1, 2, 3, 4)) + 0.25 * (steps**2).mean(dim=(1, 2, 3, 4))
    torch.testing.assert_close(found.total, expected)
    assert list(found.terms) == ["plain", "difference"]


def test_an_error_that_stays_from_frame_to_frame_is_no_difference() -> None:
    still = torch.ones(2, 4, 3, 4, 4)
    assert FrameDifference()(still, HEATMAP, still).terms["difference"].tolist() == [0, 0]


def test_a_single_frame_has_no_difference() -> None:
    found = FrameDifference()(torch.ones(2, 4, 1, 4, 4), HEATMAP[:, :1], torch.ones(2, 4, 1, 4, 4))
    assert found.terms["difference"].tolist() == [0, 0]


def test_a_share_is_from_0_to_1() -> None:
    with pytest.raises(ValueError, match=r"loss\.share 2"):
        FrameDifference(share=2)
