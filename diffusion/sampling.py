"""Sampling: from noise to latents, under conditions, step by step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from diffusion.ddim import RescaledDdim, guided
from diffusion.options import Sampling
from diffusion.schedule import Schedule

# Told after each step: how many are done, of how many. It may raise to cancel.
OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Conditions:
    """What samples are conditioned on. ``image`` are the network's own arguments, kept in both guidance branches."""

    text: Float[Tensor, "b l d"]
    empty_text: Float[Tensor, "b l d"]
    fps: Float[Tensor, " b"]
    image: dict[str, Tensor]


@torch.no_grad()
def sample(  # noqa: PLR0913 - each is chosen by another part of a program
    network: Callable[..., Tensor],
    schedule: Schedule,
    given: Conditions,
    noise: Float[Tensor, "s b c t h w"],
    options: Sampling,
    on_step: OnStep | None = None,
    scheduler: Any = None,
) -> Float[Tensor, "b c t h w"]:
    """Latents under conditions; ``noise`` is that of :func:`draw_noise`, with all steps' where eta is not 0.

    Both guidance branches go through the network in one batch. Any diffusers scheduler can take DDIM's place; it draws
    its own noise, if it needs some.
    """
    own = scheduler is None
    scheduler = RescaledDdim(schedule, options.spacing) if own else scheduler
    scheduler.set_timesteps(options.steps)
    device = given.text.device
    x = noise[0].to(device) * float(getattr(scheduler, "init_noise_sigma", 1.0))
    both = [torch.cat([given.text, given.empty_text]), given.fps.repeat(2)]
    image = {name: torch.cat([value, value]) for name, value in given.image.items()}
    for number, timestep in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(x, timestep)
        times = timestep.to(device).expand(2 * len(x))
        with_text, without = network(torch.cat([scaled, scaled]), times, *both, **image).float().chunk(2)
        predicted = guided(with_text, without, options.guidance, options.guidance_rescale)
        extra = {"eta": options.eta, "variance_noise": noise[1 + number] if options.eta else None} if own else {}
        x = scheduler.step(predicted, timestep, x, return_dict=False, **extra)[0]
        if on_step:
            on_step(number + 1, len(scheduler.timesteps))
    return x


def draw_noise(shape: tuple[int, ...], seeds: list[int], steps: int) -> Float[Tensor, "s b ..."]:
    """Start and step noise of samples, each from its own generator: a sample does not depend on its batch.

    Returns ``[1 + steps, b, *shape]``: first x_T, then the noise that eta adds at each step. Drawn on the CPU, so that
    a seed means the same on every device.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.stack([torch.randn((1 + steps, *shape), generator=g) for g in generators], dim=1)


def to_frames(images: Float[Tensor, "n 3 h w"], frames: int) -> UInt8[np.ndarray, "b t h w 3"]:
    """Pictures in -1 to 1 as bytes, cut into videos of so many frames."""
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    out: np.ndarray = rearrange(pixels, "(b t) c h w -> b t h w c", t=frames).cpu().numpy()
    return out
