import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from base.errors import InputError
from diffusion.flow import Flow
from diffusion.options import Sampling
from diffusion.sampling import Conditions, draw_noise, sample

SHAPE = (2, 3, 4, 4)


def clips() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    x0, noise = torch.randn((2, 3, *SHAPE), generator=draw)
    return x0, noise


def test_it_is_the_line_from_clip_to_noise() -> None:
    x0, noise = clips()
    times = torch.tensor([0.0, 250.0, 1000.0])
    found = Flow().noised(x0, noise, times)
    torch.testing.assert_close(found[0], x0[0])
    torch.testing.assert_close(found[1], 0.75 * x0[1] + 0.25 * noise[1])
    torch.testing.assert_close(found[2], noise[2])
    assert torch.equal(Flow().target(x0, noise, times), noise - x0)


def test_the_target_is_the_derivative_of_the_line() -> None:
    x0, noise = (value.double() for value in clips())
    at = torch.tensor([300.0, 500.0, 700.0], dtype=torch.float64)
    slope = (Flow().noised(x0, noise, at + 1) - Flow().noised(x0, noise, at - 1)) / (2 / 1000)
    torch.testing.assert_close(slope, Flow().target(x0, noise, at))


@given(shift=st.floats(0.1, 20), s=st.floats(0, 1))
def test_the_shift_is_that_of_esser(shift: float, s: float) -> None:
    """Signal to noise (1 - s) / s falls by the factor ``shift``; the ends stay."""
    flow = Flow(shift=shift)
    assert flow.shifted(0) == 0
    assert flow.shifted(1) == pytest.approx(1)
    if 1e-6 < s < 1 - 1e-6:
        found = flow.shifted(s)
        assert (1 - found) / found * shift == pytest.approx((1 - s) / s, rel=1e-6)


def test_times_of_training_have_the_distribution_that_they_are_named_after() -> None:
    rng = np.random.default_rng(0)
    uniform = np.array([Flow().draw_time(rng) for _ in range(4000)]) / 1000
    normal = np.array([Flow(times="logit-normal", mean=0.5, spread=0.8).draw_time(rng) for _ in range(4000)]) / 1000
    assert uniform.mean() == pytest.approx(0.5, abs=0.02)
    assert uniform.std() == pytest.approx(1 / math.sqrt(12), abs=0.01)
    logits = np.log(normal / (1 - normal))
    assert logits.mean() == pytest.approx(0.5, abs=0.05)
    assert logits.std() == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize("steps", [1, 7, 50])
@pytest.mark.parametrize("shift", [1.0, 5.0])
def test_euler_reaches_the_clip_exactly_where_the_velocity_is_known(steps: int, shift: float) -> None:
    """For one clip the true velocity is noise - x_0 all along: any number of steps ends at x_0."""
    x0 = clips()[0][:1].double()
    noise = draw_noise(SHAPE, [3], 0).double()
    empty = torch.zeros(1, 1, 1)
    found = sample(
        lambda x, times, _: (x - torch.cat([x0, x0])) / (times / 1000).view(-1, 1, 1, 1, 1),
        Flow(shift=shift),
        Conditions(empty, empty, torch.ones(1), {}),
        noise,
        Sampling(steps=steps, guidance=1.0),
    )
    torch.testing.assert_close(found, x0, rtol=0, atol=1e-6)


def test_euler_on_two_gaussians_converges_to_the_closed_form() -> None:
    """Data N(0, a^2), noise N(0, 1): the ideal velocity is linear, and its flow maps noise z to a z."""
    a = 0.3

    def ideal(x: Tensor, times: Tensor, _: object) -> Tensor:
        s = (times.double() / 1000).view(-1, 1, 1, 1, 1)
        return x * (s - (1 - s) * a**2) / ((1 - s) ** 2 * a**2 + s**2)

    noise, empty = draw_noise(SHAPE, [1], 0).double(), torch.zeros(1, 1, 1)
    conditions = Conditions(empty, empty, torch.ones(1), {})
    errors = []
    for steps in (50, 100, 200):
        found = sample(ideal, Flow(), conditions, noise, Sampling(steps=steps, guidance=1.0))
        errors.append(float((found - a * noise[0]).abs().max()))
    assert errors[2] < 0.02
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.4)  # a method of first order
    assert errors[1] / errors[2] == pytest.approx(2, abs=0.4)


@pytest.mark.parametrize("options", [Sampling(eta=0.5), Sampling(spacing="leading")])
def test_options_of_other_processes_are_refused(options: Sampling) -> None:
    with pytest.raises(InputError, match="rectified flow"):
        Flow().sampler(options)


@pytest.mark.parametrize("fields", [{"shift": 0.0}, {"spread": 0.0}, {"mean": math.inf}, {"steps": 0}])
def test_meaningless_flows_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="schedule"):
        Flow(**fields)  # type: ignore[arg-type]
