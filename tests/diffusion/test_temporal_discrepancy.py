import math

import pytest
import torch

from diffusion.temporal_discrepancy import TemporalDiscrepancy

HEATMAP = torch.zeros(1, 3, 1, 2)


def test_the_weights_by_hand() -> None:
    """One channel, three frames of two cells: the first cell changes by 3 and then by 1, the other never."""
    latents = torch.tensor([[0.0, 5.0], [3.0, 5.0], [4.0, 5.0]]).reshape(1, 1, 3, 1, 2)
    mean = (3 + 1) / 6
    s = [math.log1p(3 / mean), math.log1p(1 / mean)]
    raw = [1, 1, min(2, 1 + s[0] / (sum(s) / 6)), 1, min(2, 1 + s[1] / (sum(s) / 6)), 1]
    expected = torch.tensor([value / (sum(raw) / 6) for value in raw]).reshape(1, 1, 3, 1, 2)
    torch.testing.assert_close(TemporalDiscrepancy().weights(latents), expected)
    small = TemporalDiscrepancy(alpha=0.1).weights(latents).flatten()
    raw = [1, 1, 1 + 0.1 * s[0] / (sum(s) / 6), 1, 1 + 0.1 * s[1] / (sum(s) / 6), 1]
    torch.testing.assert_close(small, torch.tensor(raw) / (sum(raw) / 6))


def test_change_is_the_length_over_channels() -> None:
    two = torch.zeros(1, 2, 3, 1, 2)
    two[0, :, 1:, 0, 0] = torch.tensor([[3.0], [4.0]])
    one = torch.zeros(1, 1, 3, 1, 2)
    one[0, 0, 1:, 0, 0] = 5.0
    torch.testing.assert_close(TemporalDiscrepancy().weights(two), TemporalDiscrepancy().weights(one))


def test_the_loss_is_the_weighted_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    error, latents = (torch.randn((2, 4, 3, 4, 4), generator=generator) for _ in range(2))
    loss = TemporalDiscrepancy()
    found = loss(error, torch.zeros(2, 3, 4, 4), latents)
    torch.testing.assert_close(found.total, (loss.weights(latents) * error**2).mean(dim=(1, 2, 3, 4)))
    torch.testing.assert_close(found.terms["plain"], (error**2).mean(dim=(1, 2, 3, 4)))
    torch.testing.assert_close(loss.weights(latents).mean(dim=(1, 2, 3, 4)), torch.ones(2))


@pytest.mark.parametrize("loss", [TemporalDiscrepancy(), TemporalDiscrepancy(alpha=0)])
def test_a_clip_that_does_not_change_has_the_plain_loss(loss: TemporalDiscrepancy) -> None:
    still = torch.ones(1, 1, 3, 1, 2)
    found = loss(2 * still, HEATMAP, still)
    assert found.total.tolist() == found.terms["plain"].tolist() == [4]


def test_alpha_is_at_least_0() -> None:
    with pytest.raises(ValueError, match=r"loss\.alpha -1"):
        TemporalDiscrepancy(alpha=-1)
