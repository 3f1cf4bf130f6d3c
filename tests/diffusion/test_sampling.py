import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from base.config import dump, load, to_json
from base.errors import InputError
from diffusion.flow import Flow
from diffusion.guidance import guided
from diffusion.options import Interval, Sampling, SamplingChanges, Solver
from diffusion.process import Process
from diffusion.sampling import Conditions, Predict, draw_noise, sample
from diffusion.schedule import Schedule

SHAPE = (4, 2, 4, 4)


def conditions(batch: int) -> Conditions:
    text = torch.arange(batch * 6.0).view(batch, 2, 3)
    return Conditions(text, torch.zeros_like(text), torch.full((batch,), 8.0), {})


class Network:
    """Predicts a fixed function of its inputs, sample by sample, and remembers how it was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, ...]] = []

    def __call__(self, x: Tensor, times: Tensor, given: dict[str, Tensor]) -> Tensor:
        self.calls.append(tuple(x.shape))
        text, image = given["text"], {name: value for name, value in given.items() if name.startswith("image")}
        drift = 0.1 * torch.tanh(x * (1 + text.mean(dim=(1, 2)).view(-1, 1, 1, 1, 1)))
        return drift + sum((value.mean() for value in image.values()), torch.tensor(0.0))


def test_both_branches_go_through_the_network_at_once() -> None:
    network = Network()
    sample(network, Schedule(), conditions(3), draw_noise(SHAPE, [1, 2, 3], 0), Sampling(steps=4))
    assert network.calls == [(6, *SHAPE)] * 4


# Each process with a solver, and its noise level sigma / (1 + sigma) by hand, of sigma = noise over signal.
def level_of_schedule(time: float) -> float:
    a = float(Schedule().alphas_cumprod[int(time)])
    return (1 - a) ** 0.5 / ((1 - a) ** 0.5 + a**0.5)


def level_of_rescaled(time: float) -> float:
    a, s = float(RESCALED.alphas_cumprod[int(time)]), float(RESCALED.x0_scale[int(time)])
    sigma = (1 - a) ** 0.5 / (s * a**0.5)
    return sigma / (1 + sigma)


RESCALED = Schedule(rescale=0.7)
KINDS: dict[str, tuple[Process, Solver, Callable[[float], float]]] = {
    "ddim": (Schedule(), "ddim", level_of_schedule),
    "dpm++": (Schedule(), "dpm++", level_of_schedule),
    "unipc": (Schedule(), "unipc", level_of_schedule),
    "rescaled": (RESCALED, "ddim", level_of_rescaled),
    "flow": (Flow(shift=3.0), "ddim", lambda time: time / 1000),
}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers' making
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("interval", [(0.0, 1.0), (0.3, 0.7), (0.0, 0.5), (0.5, 1.0), (0.0, 1e-6)])
def test_outside_of_the_guidance_interval_one_branch_is_computed(kind: str, interval: Interval) -> None:
    """Each step is that of its sampler, for the prediction that guidance or the text alone gives."""
    process, solver, level = KINDS[kind]
    options = Sampling(steps=12, solver=solver, guidance_rescale=0.7, guidance_interval=interval)
    given, noise, network = conditions(3), draw_noise(SHAPE, [1, 2, 3], 0), Network()
    found = sample(network, process, given, noise, options)
    sampler = process.sampler(options)
    inside = [interval[0] <= level(float(time)) <= interval[1] for time in sampler.times]
    assert network.calls == [(6 if guiding else 3, *SHAPE) for guiding in inside]
    assert any(inside) == (interval[1] > 0.1)
    x = noise[0]
    for number, guiding in enumerate(inside):
        with_text, without = (Network()(x, x, {"text": text}) for text in (given.text, given.empty_text))
        x = sampler.step(number, guided(with_text, without, 7.5, 0.7) if guiding else with_text, x, None)
    assert torch.equal(found, x)


def test_the_passes_that_the_documentation_promises() -> None:
    network, options = Network(), Sampling(guidance_interval=(0.2, 0.8))
    sample(network, RESCALED, conditions(1), draw_noise(SHAPE, [1], 0), options)
    assert (len(network.calls), sum(batch for batch, *_ in network.calls)) == (50, 80)


@pytest.mark.parametrize("process", [Schedule(zero_terminal_snr=True), Flow(), Flow(shift=1.1), Flow(shift=0.3)])
def test_noise_levels_end_in_pure_noise(process: Process) -> None:
    times = torch.linspace(0, 999, 50).long() if isinstance(process, Schedule) else torch.linspace(0, 1000, 50)
    levels = process.noise_level(times)
    assert levels[-1] == 1
    assert torch.equal(levels, levels.sort().values)
    assert 0 <= levels[0] < 0.05


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


A = 0.4  # the spread of the data below


def ideal(schedule: Schedule) -> Predict:
    """The best prediction where every value of a clip is drawn from N(0, A^2)."""

    def predict(x: Tensor, times: Tensor, _: dict[str, Tensor]) -> Tensor:
        a = schedule.alphas_cumprod.double()[times].view(-1, 1, 1, 1, 1)
        variance = a * A**2 + 1 - a
        noise, x0 = (1 - a).sqrt() * x / variance, a.sqrt() * A**2 * x / variance
        return noise if schedule.prediction == "eps" else a.sqrt() * noise - (1 - a).sqrt() * x0

    return predict


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers' making
@pytest.mark.parametrize(
    "schedule", [Schedule(), Schedule(prediction="eps"), Schedule(zero_terminal_snr=True)], ids=["v", "eps", "zero snr"]
)
@pytest.mark.parametrize("solver", ["ddim", "dpm++", "unipc"])
def test_each_solver_converges_to_the_closed_form(schedule: Schedule, solver: Solver) -> None:
    """The flow of this process maps noise z to z times A over the spread of x_T."""
    noise = draw_noise(SHAPE, [1], 0).double()
    last = float(schedule.alphas_cumprod[-1])
    expected = noise[0] * A / (last * A**2 + 1 - last) ** 0.5
    errors = []
    for steps in (20, 200):
        options = Sampling(steps=steps, guidance=1.0, spacing="trailing", solver=solver)
        found = sample(ideal(schedule), schedule, conditions(1), noise, options)
        errors.append(float((found - expected).abs().max()))
    assert errors[1] < 0.025
    assert errors[0] / errors[1] > 8


@pytest.mark.parametrize("solver", ["dpm++", "unipc"])
def test_what_a_solver_does_not_know_is_refused(solver: Solver) -> None:
    with pytest.raises(InputError, match=r"rescale of 0\.7, which only ddim"):
        Schedule(rescale=0.7).check(Sampling(solver=solver))
    with pytest.raises(ValueError, match="only ddim adds noise"):
        Sampling(solver=solver, eta=0.5)


@pytest.mark.parametrize(
    "fields",
    [
        *({"steps": 0}, {"guidance": -1.0}, {"guidance_rescale": 1.5}, {"eta": 2.0}, {"guidance": float("inf")}),
        *({"guidance_interval": given} for given in ((0.5, 0.5), (0.7, 0.2), (-0.1, 1.0), (0.0, 5.4), (0.2, math.nan))),
    ],
)
def test_nonsense_is_refused(fields: dict[str, Any]) -> None:
    for kind in (Sampling, SamplingChanges):
        with pytest.raises(ValueError, match=next(iter(fields))):
            kind(**fields)


def test_changes_leave_what_they_do_not_name() -> None:
    own = Sampling(12, 1.5, 0.7, 0.5, "trailing")
    assert SamplingChanges().of(own) == own
    assert SamplingChanges(steps=3, eta=0.0).of(own) == Sampling(3, 1.5, 0.7, 0.0, "trailing")
    within = SamplingChanges(guidance_interval=(0.2, 0.8)).of(own)
    assert within == replace(own, guidance_interval=(0.2, 0.8))
    assert SamplingChanges(steps=3).of(within).guidance_interval == (0.2, 0.8)
    assert SamplingChanges(guidance_interval=(0, 1)).of(within) == own


def test_records_have_no_interval_where_guidance_is_always_applied() -> None:
    assert to_json(Sampling()) == {"type": "sampling"} | Sampling().to_dict()
    assert list(Sampling().to_dict()) == ["steps", "guidance", "guidance_rescale", "eta", "spacing", "solver"]
    limited = Sampling(guidance_interval=(0.2, 0.8))
    assert to_json(limited) == to_json(Sampling()) | {"guidance_interval": [0.2, 0.8]}
    assert limited.to_dict() == Sampling().to_dict() | {"guidance_interval": (0.2, 0.8)}
    for options in (Sampling(), limited):
        assert load(dump(options)) == options
