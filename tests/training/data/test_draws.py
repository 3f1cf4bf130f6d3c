import numpy as np
import torch

from diffusion.schedule import Schedule
from training.data.draws import draw, layer_seed

SHAPE = (4, 2, 3, 3)


def test_they_depend_on_the_key_alone() -> None:
    torch.manual_seed(1)
    first = draw((0, 5, 2), SHAPE, Schedule(), 0.5)
    torch.manual_seed(2)
    second = draw((0, 5, 2), SHAPE, Schedule(), 0.5)
    assert torch.equal(first.noise, second.noise)
    assert torch.equal(first.posterior, second.posterior)
    assert (first.timestep, first.drop_text) == (second.timestep, second.drop_text)


def test_every_part_of_the_key_counts() -> None:
    keys = [(0, 5, 2), (1, 5, 2), (0, 6, 2), (0, 5, 3)]
    noises = [draw(key, SHAPE, Schedule(), 0.0).noise for key in keys]
    assert all(not torch.equal(noises[0], other) for other in noises[1:])
    assert not torch.equal(noises[0], draw(keys[0], SHAPE, Schedule(), 0.0).posterior)


def test_timesteps_are_uniform_and_noise_is_normal() -> None:
    found = [draw((0, 0, at), SHAPE, Schedule(steps=10, rescale_steps=10), 0.1) for at in range(4000)]
    counts = np.bincount([one.timestep for one in found], minlength=10)
    assert counts.min() > 320
    assert counts.max() < 480
    noise = torch.stack([one.noise for one in found])
    assert abs(noise.mean().item()) < 0.01
    assert abs(noise.std().item() - 1) < 0.01
    assert 0.08 < sum(one.drop_text for one in found) / 4000 < 0.12


def test_text_dropout_of_zero_and_one() -> None:
    assert not any(draw((0, 0, at), SHAPE, Schedule(steps=10, rescale_steps=10), 0.0).drop_text for at in range(50))
    assert all(draw((0, 0, at), SHAPE, Schedule(steps=10, rescale_steps=10), 1.0).drop_text for at in range(50))


def test_dropout_inside_the_network_differs_by_step_rank_and_pass() -> None:
    seeds = {
        layer_seed(0, 1, 2, 3),
        layer_seed(1, 1, 2, 3),
        layer_seed(0, 2, 2, 3),
        layer_seed(0, 1, 3, 3),
        layer_seed(0, 1, 2, 4),
    }
    assert len(seeds) == 5
