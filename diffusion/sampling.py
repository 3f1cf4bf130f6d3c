"""Sampling: from noise to latents under conditions."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from diffusion.guidance import guided
from diffusion.options import Sampling
from diffusion.process import Process, Sampler

# Called after each step with the numbers of finished and of all steps. It may raise to cancel.
OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Conditions:
    """The conditions of samples. ``others`` has those by name that are the same in both branches of guidance."""

    text: Float[Tensor, "b l d"]
    empty_text: Float[Tensor, "b l d"]
    fps: Float[Tensor, " b"]
    others: dict[str, Tensor]


Predict = Callable[[Tensor, Tensor, dict[str, Tensor]], Tensor]
"""A network's prediction with conditions by name, such as :func:`models.video_model.predict`."""


@torch.no_grad()
def sample(
    predict: Predict,
    process: Process,
    given: Conditions,
    noise: Float[Tensor, "s b c t h w"],
    options: Sampling,
    on_step: OnStep | None = None,
) -> Float[Tensor, "b c t h w"]:
    """Latents under conditions; ``noise`` comes from :func:`draw_noise`, including step noise if eta is not 0.

    Both guidance branches are evaluated in one batch; outside of the guidance interval, only the one with the text.
    """
    sampler = process.sampler(options)
    device = given.text.device
    x = noise[0].to(device)
    alone = {"text": given.text, "fps": given.fps, **given.others}
    both = {"text": torch.cat([given.text, given.empty_text]), "fps": given.fps.repeat(2)}
    both |= {name: torch.cat([value, value]) for name, value in given.others.items()}
    for number, (time, is_guided) in enumerate(zip(sampler.times, _guided_at(process, sampler, options), strict=True)):
        times = time.to(device).expand((1 + is_guided) * len(x))
        if is_guided:
            with_text, without = predict(torch.cat([x, x]), times, both).float().chunk(2)
            predicted = guided(with_text, without, options.guidance, options.guidance_rescale)
        else:
            predicted = predict(x, times, alone).float()
        x = sampler.step(number, predicted, x, noise[1 + number] if options.eta else None)
        if on_step:
            on_step(number + 1, len(sampler.times))
    return x


def _guided_at(process: Process, sampler: Sampler, options: Sampling) -> list[bool]:
    """At which of the sampler's times guidance is applied."""
    if options.always_guided:
        return [True] * len(sampler.times)
    low, high = options.guidance_interval
    return [low <= level <= high for level in process.noise_level(sampler.times).tolist()]


def draw_noise(shape: tuple[int, ...], seeds: list[int], steps: int) -> Float[Tensor, "s b ..."]:
    """Initial and step noise of samples, each from its own generator, so that a sample does not depend on its batch.

    Returns ``[1 + steps, b, *shape]``: first x_T, then the noise that eta adds at each step. Drawn on the CPU, so that
    a seed gives the same numbers on every device.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.stack([torch.randn((1 + steps, *shape), generator=g) for g in generators], dim=1)


def to_frames(images: Float[Tensor, "n 3 h w"], frames: int) -> UInt8[np.ndarray, "b t h w 3"]:
    """Pictures in -1 to 1 as bytes, grouped into videos of ``frames`` frames."""
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    out: np.ndarray = rearrange(pixels, "(b t) c h w -> b t h w c", t=frames).cpu().numpy()
    return out
