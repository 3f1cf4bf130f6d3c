"""Keys and values of the text are computed once for all steps of sampling, and nothing else changes."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from diffusion.options import Sampling
from diffusion.sampling import Conditions, draw_noise, sample
from diffusion.schedule import Schedule
from models.kept_conditions import conditions_kept
from models.video_model import predict
from models.videocrafter2.unet import VideoUNet
from tests.models.videocrafter2.models import conditions, small


def latents(network: VideoUNet, steps: int, *, keep: bool, until: float = 0.0) -> tuple[Tensor, int]:
    """Two sampled clips, and the FLOPs that they took."""
    given = conditions(network)
    image = {name: value for name, value in given.items() if name.startswith("image")}
    known = Conditions(given["text"], torch.zeros_like(given["text"]), given["fps"].float(), image)
    flops = FlopCounterMode(display=False)
    with flops, conditions_kept(network) if keep else nullcontext():
        found = sample(
            lambda x, times, both: predict(network, x, times, both),
            Schedule(rescale=0.7),
            known,
            draw_noise((4, 3, 8, 8), [1, 2], 0),
            Sampling(steps=steps, guidance_interval=(until, 1.0)),
        )
    return found, flops.get_total_flops()


@pytest.mark.parametrize("image_condition", ["x-cat", "both"])
def test_samples_are_the_same_bit_for_bit_for_fewer_flops(image_condition: str) -> None:
    network = small(image_condition=image_condition).eval().requires_grad_(False)
    once, three = (latents(network, steps, keep=True) for steps in (1, 3))
    plain_once, plain_three = (latents(network, steps, keep=False) for steps in (1, 3))
    assert torch.equal(three[0], plain_three[0])
    assert once[1] == plain_once[1]
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        states = torch.zeros(2 * 2 * 3, 5 if image_condition == "x-cat" else 8, 16)
        for unit in network.condition_units():
            unit(states if unit is not network.resampler else torch.zeros(4, 7, 12))
    assert plain_three[1] - three[1] == 2 * flops.get_total_flops()
    assert flops.get_total_flops() > 0


def test_a_step_without_guidance_has_conditions_of_its_own() -> None:
    network = small(image_condition="both").eval().requires_grad_(False)
    kept, plain = (latents(network, 6, keep=keep, until=0.5) for keep in (True, False))
    assert torch.equal(kept[0], plain[0])
    assert kept[1] < plain[1] < latents(network, 6, keep=False)[1]


@torch.no_grad()
def test_other_conditions_are_computed_anew() -> None:
    network = small(image_condition="x-cat").eval()
    given = conditions(network)
    texts = [given["text"], given["text"] + 1, given["text"] * 2]
    wanted = [network(**given | {"text": text}) for text in texts]
    with conditions_kept(network):
        for number in (0, 1, 0, 2, 1, 0, 2):
            assert torch.equal(network(**given | {"text": texts[number]}), wanted[number])
        assert not torch.equal(wanted[0], wanted[1])
    given["text"].add_(1)  # outside the context nothing is kept, not even of the same tensor
    assert torch.equal(network(**given), wanted[1])
