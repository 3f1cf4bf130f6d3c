import pytest
import torch

from diffusion.motion_focal import MotionFocal
from diffusion.weighting import LossTerms

LATENTS = torch.zeros(3, 4, 5, 6, 7)


def error() -> torch.Tensor:
    """Signed errors."""
    return torch.randn((3, 4, 5, 6, 7), generator=torch.Generator().manual_seed(0))


def heatmap() -> torch.Tensor:
    return torch.rand((3, 5, 6, 7), generator=torch.Generator().manual_seed(1))


def loss(weighting: MotionFocal, found: torch.Tensor, heat: torch.Tensor) -> LossTerms:
    return weighting(found, heat, torch.zeros_like(found))


def test_without_weight_it_is_the_plain_mean_exactly() -> None:
    found = loss(MotionFocal(weight=0.0), error(), heatmap())
    assert torch.equal(found.total, (error() ** 2).mean(dim=(1, 2, 3, 4)))
    assert (found.terms["motion"] > 0).all()  # reported all the same


def test_a_lit_heatmap_doubles_the_loss_exactly() -> None:
    found = loss(MotionFocal(), error(), torch.ones(3, 5, 6, 7))
    assert torch.equal(found.total, 2 * (error() ** 2).mean(dim=(1, 2, 3, 4)))


def test_the_formula_of_the_paper() -> None:
    e, m = error(), heatmap()
    expected = (e**2).mean(dim=(1, 2, 3, 4)) + 2.0 * ((m.unsqueeze(1) * e) ** 2).mean(dim=(1, 2, 3, 4))
    torch.testing.assert_close(loss(MotionFocal(weight=2.0), e, m).total, expected)


@pytest.mark.parametrize("power", [1.0, 3.0])
def test_another_power(power: float) -> None:
    expected = (heatmap().unsqueeze(1) ** power * error() ** 2).mean(dim=(1, 2, 3, 4))
    torch.testing.assert_close(loss(MotionFocal(power=power), error(), heatmap()).terms["motion"], expected)


def test_the_inverse_lights_what_stands_still() -> None:
    inverse = loss(MotionFocal(inverse=True), error(), heatmap())
    assert torch.equal(inverse.terms["motion"], loss(MotionFocal(), error(), 1 - heatmap()).terms["motion"])


def test_each_frame_has_its_own_map() -> None:
    """Two heatmaps that differ by frame alone weight different errors."""
    errors = torch.zeros(1, 4, 5, 6, 7)
    errors[:, :, 3] = 1
    lit = [torch.zeros(1, 5, 6, 7) for _ in range(2)]
    lit[0][:, 3] = 1
    lit[1][:, 2] = 1
    motion = [loss(MotionFocal(), errors, heat).terms["motion"].item() for heat in lit]
    assert motion == [pytest.approx(1 / 5), 0.0]


def test_gradients_are_larger_where_something_moves() -> None:
    found = torch.ones(1, 1, 2, 1, 1, requires_grad=True)
    loss(MotionFocal(weight=3.0), found, torch.tensor([1.0, 0.5]).view(1, 2, 1, 1)).total.sum().backward()
    assert found.grad is not None
    assert found.grad.flatten().tolist() == pytest.approx([1 + 3.0, 1 + 3.0 * 0.25])


@pytest.mark.parametrize("fields", [{"weight": -1.0}, {"weight": float("nan")}, {"power": 0.0}])
def test_meaningless_weights_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="loss"):
        MotionFocal(**fields)  # type: ignore[arg-type]
