from typing import Any

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from diffusion.options import Sampling, SamplingChanges
from diffusion.sampling import Conditions, draw_noise, sample
from diffusion.schedule import Schedule

SHAPE = (4, 2, 4, 4)


def conditions(batch: int) -> Conditions:
    text = torch.arange(batch * 6.0).view(batch, 2, 3)
    return Conditions(text, torch.zeros_like(text), torch.full((batch,), 8.0), {})


class Network:
    """Predicts a fixed function of its inputs, sample by sample, and remembers how it was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, ...]] = []

    def __call__(self, x: Tensor, times: Tensor, text: Tensor, fps: Tensor, **image: Tensor) -> Tensor:
        self.calls.append(tuple(x.shape))
        drift = 0.1 * torch.tanh(x * (1 + text.mean(dim=(1, 2)).view(-1, 1, 1, 1, 1)))
        return drift + sum((value.mean() for value in image.values()), torch.tensor(0.0))


def test_both_branches_go_through_the_network_at_once() -> None:
    network = Network()
    sample(network, Schedule(), conditions(3), draw_noise(SHAPE, [1, 2, 3], 0), Sampling(steps=4))
    assert network.calls == [(6, *SHAPE)] * 4


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_sample_does_not_depend_on_its_batch(eta: float) -> None:
    given, options = conditions(3), Sampling(steps=5, eta=eta)
    noise = draw_noise(SHAPE, [1, 2, 3], 5)
    together = sample(Network(), Schedule(rescale=0.7), given, noise, options)
    for row in range(3):
        alone = Conditions(given.text[row : row + 1], given.empty_text[:1], given.fps[:1], {})
        one = sample(Network(), Schedule(rescale=0.7), alone, draw_noise(SHAPE, [row + 1], 5), options)
        assert torch.equal(one[0], together[row])


def test_eta_and_guidance_and_the_text_matter() -> None:
    noise = draw_noise(SHAPE, [1], 5)
    found = [
        sample(Network(), Schedule(), conditions(1), noise, Sampling(steps=5, **changes))
        for changes in ({}, {"eta": 1.0}, {"guidance": 1.0}, {"guidance_rescale": 0.7}, {"spacing": "trailing"})
    ]
    assert all(not torch.allclose(found[0], other) for other in found[1:])


def test_each_step_is_told_and_may_cancel() -> None:
    told: list[tuple[int, int]] = []
    noise = draw_noise(SHAPE, [1], 0)
    sample(Network(), Schedule(), conditions(1), noise, Sampling(steps=3), lambda *now: told.append(now))
    assert told == [(1, 3), (2, 3), (3, 3)]

    network = Network()

    def cancel(done: int, of: int) -> None:
        if done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        sample(network, Schedule(), conditions(1), noise, Sampling(steps=9), cancel)
    assert len(network.calls) == 2


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers' making
def test_another_scheduler_of_diffusers_can_take_its_place() -> None:
    schedule = Schedule()
    settings = {
        k: v for k, v in schedule.scheduler_config().items() if k in ("beta_start", "beta_end", "beta_schedule")
    }
    solver = DPMSolverMultistepScheduler(prediction_type="v_prediction", **settings)
    found = sample(Network(), schedule, conditions(1), draw_noise(SHAPE, [1], 0), Sampling(steps=4), scheduler=solver)
    assert found.isfinite().all()
    assert found.shape == (1, *SHAPE)


@pytest.mark.parametrize(
    "fields", [{"steps": 0}, {"guidance": -1.0}, {"guidance_rescale": 1.5}, {"eta": 2.0}, {"guidance": float("inf")}]
)
def test_nonsense_is_refused(fields: dict[str, Any]) -> None:
    for kind in (Sampling, SamplingChanges):
        with pytest.raises(ValueError, match=next(iter(fields))):
            kind(**fields)


def test_changes_leave_what_they_do_not_name() -> None:
    own = Sampling(12, 1.5, 0.7, 0.5, "trailing")
    assert SamplingChanges().of(own) == own
    assert SamplingChanges(steps=3, eta=0.0).of(own) == Sampling(3, 1.5, 0.7, 0.0, "trailing")
