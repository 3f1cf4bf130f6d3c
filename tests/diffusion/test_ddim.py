import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file
from torch import Tensor

from base.errors import InputError
from diffusion.ddim import RescaledDdim
from diffusion.guidance import guided
from diffusion.sampling import draw_noise
from diffusion.schedule import Schedule
from models.videocrafter2.unet import VideoUNet
from tests.conftest import SHARED
from tests.models.videocrafter2.models import reference as original_unet

VIDEOCRAFTER = Schedule(prediction="eps", rescale=0.7)
DYNAMICRAFTER = Schedule(zero_terminal_snr=True, rescale=0.7)


@pytest.fixture(scope="module")
def reference() -> Path:
    folder = SHARED / "reference"
    if not (folder / "ddim_trajectory.safetensors").is_file():
        pytest.skip(f"{folder} with trajectories of the original samplers is not there")
    return folder


@pytest.mark.parametrize(("name", "schedule"), [("vc2", VIDEOCRAFTER), ("dynamicrafter_512", DYNAMICRAFTER)])
def test_steps_are_the_originals(reference: Path, name: str, schedule: Schedule) -> None:
    scheduler = RescaledDdim(schedule)
    scheduler.set_timesteps(50)
    told = json.loads((reference / "ddim.json").read_text())[name]["ddim_timesteps_ascending"]
    assert scheduler.timesteps.tolist() == told[::-1]


def follow(
    network: Callable[[Tensor, Tensor, bool], Tensor],
    scheduler: RescaledDdim,
    stored: dict[str, Tensor],
    guidance: tuple[float, float],
) -> Tensor:
    """Fifty steps of eta 1 with the stored noise."""
    scheduler.set_timesteps(50)
    x = stored["x_T"]
    for noise, t in zip(stored["noise"], scheduler.timesteps, strict=True):
        with_text, without = (network(x, t.view(1), empty) for empty in (False, True))
        predicted = guided(with_text, without, *guidance)
        x = scheduler.step(predicted, int(t), x, eta=1.0, variance_noise=noise).prev_sample
    return x


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def apart(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.slow
@pytest.mark.parametrize("style", ["vc2", "dc"])
@torch.no_grad()
def test_trajectories_are_the_originals(reference: Path, style: str) -> None:
    """In float64: guidance amplifies rounding, and the stored trajectories' own is near 1e-5 already."""
    stored = {name: _double(value) for name, value in load_file(reference / "ddim_trajectory.safetensors").items()}
    unet = original_unet(reference, "tiny")
    condition: dict[str, Tensor] = {}
    if style == "dc":
        unet = VideoUNet.from_text_to_video(unet, "x-cat")
        unet.conv_in.weight[:, 4:] = load_file(reference / "tiny_io.safetensors")["xcat_conv_in_extra_weight"]
        condition = {"image_latent": stored["image_latent"][:, :, 0]}

    unet = unet.double()

    def network(x: Tensor, t: Tensor, empty: bool) -> Tensor:
        out: Tensor = unet(x, t, stored["uncond_context" if empty else "context"], stored["fps"], **condition)
        return out

    scheduler = RescaledDdim(VIDEOCRAFTER) if style == "vc2" else RescaledDdim(DYNAMICRAFTER, unscale_last=False)
    found = follow(network, scheduler, stored, (12.0, 0.0) if style == "vc2" else (7.5, 0.7))
    assert apart(found, stored[f"{style}_output"]) < 1e-5


def perfect(schedule: Schedule, x0: Tensor) -> Callable[[Tensor, int], Tensor]:
    """The prediction of a network that knows x_0."""

    def predict(x: Tensor, t: int) -> Tensor:
        a, s = schedule.alphas_cumprod[t], schedule.x0_scale[t]
        noise = (x - a.sqrt() * s * x0) / (1 - a).sqrt()
        return noise if schedule.prediction == "eps" else a.sqrt() * noise - (1 - a).sqrt() * s * x0

    return predict


@pytest.mark.parametrize("schedule", [Schedule(), Schedule(rescale=0.7), VIDEOCRAFTER, DYNAMICRAFTER])
def test_with_a_perfect_network_sampling_ends_near_the_data(schedule: Schedule) -> None:
    """The last step goes to a[0], not to no noise at all: what is left is sqrt(1 - a[0]) of the noise, 3 %."""
    x0 = torch.randn((1, 4, 2, 8, 8), generator=torch.Generator().manual_seed(0))
    scheduler = RescaledDdim(schedule)
    scheduler.set_timesteps(50)
    x = draw_noise((4, 2, 8, 8), [1], 0)[0]
    for t in scheduler.timesteps:
        x = scheduler.step(perfect(schedule, x0)(x, int(t)), int(t), x).prev_sample
    assert apart(x, x0) < 0.05


@pytest.mark.parametrize("schedule", [Schedule(), Schedule(prediction="eps")])
def test_without_rescale_a_step_is_diffusers(schedule: Schedule) -> None:
    stock, ours = DDIMScheduler(**schedule.scheduler_config()), RescaledDdim(schedule)
    x, predicted, noise = torch.randn((3, 1, 4, 2, 3, 3), generator=torch.Generator().manual_seed(0))
    for scheduler in (stock, ours):
        scheduler.set_timesteps(50)
    for t in (981, 501, 1):
        expected = stock.step(predicted, t, x, eta=0.5, variance_noise=noise)
        found = ours.step(predicted, t, x, eta=0.5, variance_noise=noise)
        assert apart(found.prev_sample, expected.prev_sample) < 1e-5


def test_leading_steps_are_refused_where_the_last_one_is_pure_noise() -> None:
    with pytest.raises(InputError, match="trailing"):
        RescaledDdim(DYNAMICRAFTER, spacing="leading")


def test_guidance_of_one_is_the_text_branch() -> None:
    with_text, without = torch.randn((2, 1, 4, 2, 3, 3), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(guided(with_text, without, 1.0), with_text)
    assert not torch.allclose(guided(with_text, without, 7.5), with_text)


def test_guidance_rescale_brings_back_the_spread_of_the_text_branch() -> None:
    with_text, without = torch.randn((2, 3, 4, 2, 3, 3), generator=torch.Generator().manual_seed(0))
    out = guided(with_text, without, 7.5, rescale=1.0)
    torch.testing.assert_close(out.std(dim=(1, 2, 3, 4)), with_text.std(dim=(1, 2, 3, 4)))


def test_a_sample_does_not_depend_on_its_batch() -> None:
    together, alone = draw_noise((4, 2, 3, 3), [5, 6, 7], 2), draw_noise((4, 2, 3, 3), [6], 2)
    assert together.shape == (3, 3, 4, 2, 3, 3)
    assert torch.equal(together[:, 1], alone[:, 0])
