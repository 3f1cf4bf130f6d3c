import json
import math

import pytest
import torch

from diffusion.schedule import Schedule
from tests.conftest import SHARED

REFERENCE = SHARED / "reference" / "ddim.json"


@pytest.fixture(scope="module")
def reference() -> dict[str, dict[str, list[float]]]:
    if not REFERENCE.is_file():
        pytest.skip(f"{REFERENCE} with the original schedules is not there")
    found: dict[str, dict[str, list[float]]] = json.loads(REFERENCE.read_text())
    return found


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("vc2", Schedule(prediction="eps", rescale=0.7)),
        ("dynamicrafter_512", Schedule(zero_terminal_snr=True, rescale=0.7)),
    ],
)
def test_tables_are_the_originals(reference: dict[str, dict[str, list[float]]], name: str, schedule: Schedule) -> None:
    torch.testing.assert_close(
        schedule.alphas_cumprod, torch.tensor(reference[name]["alphas_cumprod"]), rtol=1e-6, atol=1e-8
    )
    torch.testing.assert_close(schedule.x0_scale, torch.tensor(reference[name]["x0_scale"]), rtol=1e-6, atol=0)


def test_ends_of_the_plain_schedule() -> None:
    schedule = Schedule()
    assert schedule.alphas_cumprod[0].item() == pytest.approx(1 - 0.00085)
    assert 0.0046 < schedule.alphas_cumprod[-1].item() < 0.0047
    assert (schedule.x0_scale == 1).all()
    assert Schedule(zero_terminal_snr=True).alphas_cumprod[-1].item() == 0


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn((2, 3, 4, 2, 5, 5), generator=generator, dtype=torch.float64)
    return x0, noise, torch.tensor([0, 500, 999])


@pytest.mark.parametrize("rescale", [1.0, 0.7])
def test_v_and_x_t_give_back_x0_and_noise(rescale: float) -> None:
    """Rotating (x_t, v) by the angle of the step must give (scaled x_0, noise)."""
    schedule = Schedule(rescale=rescale)
    x0, noise, t = batch()
    a = schedule.alphas_cumprod[t].double().view(3, 1, 1, 1, 1)
    x_t, v = schedule.noised(x0, noise, t), schedule.target(x0, noise, t)
    scaled = x0 * schedule.x0_scale[t].view(3, 1, 1, 1, 1)
    torch.testing.assert_close(a.sqrt() * x_t - (1 - a).sqrt() * v, scaled, rtol=0, atol=1e-6)
    torch.testing.assert_close((1 - a).sqrt() * x_t + a.sqrt() * v, noise, rtol=0, atol=1e-6)


def test_eps_prediction_asks_for_the_noise() -> None:
    x0, noise, t = batch()
    assert Schedule(prediction="eps").target(x0, noise, t) is noise


def test_rescale_touches_x0_alone() -> None:
    x0, noise, t = batch()
    plain, rescaled = (Schedule(rescale=scale).noised(x0, noise, t) for scale in (1.0, 0.7))
    assert torch.equal(plain[0], rescaled[0])  # s is one at the first step
    a = Schedule().alphas_cumprod[999].item()
    torch.testing.assert_close(plain[2] - rescaled[2], 0.3 * math.sqrt(a) * x0[2], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"beta_start": 0.0}, "beta_start"),
        ({"rescale": 0.0}, "rescale"),
        ({"rescale_steps": 2000}, "rescale_steps"),
        ({"zero_terminal_snr": True, "prediction": "eps"}, "set prediction to v"),
    ],
)
def test_meaningless_schedules_are_refused(fields: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Schedule(**fields)  # type: ignore[arg-type]
