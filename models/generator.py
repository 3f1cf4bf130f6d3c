"""Generates videos from prompts and, if the model takes them, images: a model folder and its encoders on a device."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from base.errors import InputError, WeightsError
from base.weights import Weights
from diffusion.options import MOTION_LEVELS, USUAL_MOTION_LEVEL, Sampling
from diffusion.sampling import Conditions, OnStep, draw_noise, sample, to_frames
from media.picture import fit
from models.card import ModelFacts, Part
from models.encoders.latent_space import LatentSpace
from models.encoders.registry import (
    ImageEncoder,
    TextEncoder,
    has_weights,
    open_image_encoder,
    open_latent_space,
    open_text_encoder,
)
from models.folder import find_part, load_facts, load_network
from models.kept_conditions import conditions_kept
from models.misfits import superfluous_image, superfluous_level
from models.video_model import VideoModel, predict, with_given_frames

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Request:
    """A request for one video; ``image`` is its first frame, None for a text-to-video model.

    ``fps`` is the frame rate to condition on; by default the median of its training's. ``negative`` is the negative
    prompt, which replaces the empty text in guidance. ``motion_level`` is how much moves, from 1 to 10, for models that
    take it; by default 5.
    """

    image: UInt8[np.ndarray, "height width 3"] | None
    prompt: str
    seed: int = 0
    fps: float | None = None
    negative: str = ""
    motion_level: int | None = None


class Generator:
    """Generates videos of a model's height and width, from images of any size or from text alone.

    A video only depends on its request and the sampling options, not on the rest of its batch. On a CPU results are
    bitwise reproducible for a given number of threads: the network processes one request at a time, which is also
    faster, since torch's small matrix products round differently for other numbers of rows. On a GPU requests are
    batched, and kernels may round differently for other batch sizes; text and pictures are always encoded one by one.
    ``at_once`` is the number of requests per pass of the network; None means all. ``image`` encodes the picture as
    tokens, for models that take them.
    """

    def __init__(
        self, network: VideoModel, facts: ModelFacts, space: LatentSpace, text: TextEncoder, image: ImageEncoder | None
    ) -> None:
        if "image_clip" in network.conditions:
            raise InputError("this model needs a picture's latents followed by empty ones, which cannot be made yet.")
        if "image_tokens" in network.conditions and image is None:
            raise WeightsError("this model needs image tokens, but no image encoder is given.")
        first = next(network.parameters())
        self.network, self.device, self.dtype = network.eval(), first.device, first.dtype
        self.facts, self.space, self.text, self.image = facts, space, text, image
        self.at_once: int | None = 1 if self.device.type == "cpu" else None

    @classmethod
    def load(
        cls,
        model: Path | Weights,
        device: torch.device,
        precision: Precision = "float32",
        compiled: bool = False,
        decoding: Precision = "float32",
    ) -> "Generator":
        """Load a model folder with its encoders; WeightsError names what is missing.

        With ``bfloat16`` the network's weights take half the memory and it runs under autocast; latents, solver steps
        and encoders stay in float32. ``decoding`` is the precision of the decoder, from latents to frames.
        ``compiled``: see :meth:`compile`.
        """
        facts = load_facts(model)
        vae = _part(model, "vae", facts.latents)
        space = open_latent_space(facts.latents, facts.scaling_factor, vae, device, getattr(torch, decoding))
        text = open_text_encoder(facts.text, _part(model, "text_encoder", facts.text), device)
        image = None
        if facts.image:
            image = open_image_encoder(facts.image, _part(model, "image_encoder", facts.image), device)
        generator = cls(load_network(model, getattr(torch, precision)).to(device), facts, space, text, image)
        if compiled:
            generator.compile()
        return generator

    def compile(self, backend: str | Callable[..., Any] = "inductor") -> None:
        """Compile the network with torch; the first run of each batch shape takes minutes."""
        self.network.compile(backend=backend)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the videos, in pixels."""
        return self.facts.height * self.space.cell, self.facts.width * self.space.cell

    @property
    def fps_range(self) -> tuple[float, float]:
        """The range of frame rates that the model was trained on, without outliers."""
        return self.facts.fps

    def rate(self, request: Request) -> float:
        """The frame rate of a request's video."""
        return self.facts.default_fps if request.fps is None else request.fps

    def generate(
        self,
        requests: Sequence[Request],
        options: Sampling | None = None,
        on_step: OnStep | None = None,
        frames: int | None = None,
    ) -> UInt8[np.ndarray, "b t h w 3"]:
        """Videos of the requests; RGB, 0 to 255. The first frame is the image, if any, as reconstructed by the model.

        InputError if a request lacks the image that the model needs, or has an image or a motion level that it does not
        take.

        ``options`` default to the model's own (``facts.sampling``).
        ``frames`` per video, from 1 to the model's own number, which is the default; InputError otherwise.
        ``on_step`` is called after each pass of the network: with one request at a time, steps x requests times.
        """
        for request in requests:
            self._check(request)
        frames = self.facts.video_frames if frames is None else frames
        if not 1 <= frames <= self.facts.video_frames:
            raise InputError(f"frames {frames}: this model makes videos of 1 to {self.facts.video_frames} frames.")
        size = self.at_once or len(requests)
        groups = [requests[first : first + size] for first in range(0, len(requests), size)]
        videos = []
        for number, group in enumerate(groups):
            on_group_step = on_step and partial(_tell, on_step, number, len(groups))
            videos.append(self._generate(group, options or self.facts.sampling, on_group_step, frames))
        return np.concatenate(videos)

    def _generate(
        self, requests: Sequence[Request], options: Sampling, on_step: OnStep | None, frames: int
    ) -> UInt8[np.ndarray, "b t h w 3"]:
        images = (request.image for request in requests if request.image is not None)
        pictures = [torch.from_numpy(fit(image, *self.size)).to(self.device) for image in images]
        condition = self._condition(pictures) | self._levels(requests)
        texts = [(request.prompt, request.negative) for request in requests]
        states = {text: self.text([text]) for text in sorted({text for pair in texts for text in pair})}
        given = Conditions(
            text=torch.cat([states[prompt] for prompt, _ in texts]),
            empty_text=torch.cat([states[negative] for _, negative in texts]),
            fps=torch.tensor([self.rate(request) for request in requests], device=self.device),
            others=condition,
        )
        latents_each = 1 + math.ceil((frames - 1) / self.space.stride)
        shape = (self.network.latent_channels, latents_each, self.facts.height, self.facts.width)
        noise = draw_noise(shape, [request.seed for request in requests], options.steps if options.eta else 0)
        with conditions_kept(self.network):
            latents = sample(self._predict, self.facts.schedule, given, noise, options, on_step)
        latents = with_given_frames(self.network, latents, condition)
        of_each = self.space.frames(latents_each)
        videos = [to_frames(self.space.decode(one), of_each) for one in torch.split(latents, 1)]
        return np.concatenate(videos)[:, :frames]

    def _predict(self, sample: Tensor, timestep: Tensor, given: dict[str, Tensor]) -> Tensor:
        """Run the network in the precision of its weights."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            return predict(self.network, sample, timestep, given)

    def _check(self, request: Request) -> None:
        """InputError if the request and the network disagree about a picture or a motion level."""
        if self.network.takes_image and request.image is None:
            raise InputError("this model begins its videos with a picture: give one.")
        if request.image is not None and not self.network.takes_image:
            raise InputError(superfluous_image("this model"))
        if request.motion_level is None:
            return
        if "motion_level" not in self.network.conditions:
            raise InputError(superfluous_level("this model"))
        if not 1 <= request.motion_level <= MOTION_LEVELS:
            raise InputError(f"motion_level {request.motion_level}: must be from 1 to {MOTION_LEVELS}.")

    def _levels(self, requests: Sequence[Request]) -> dict[str, Tensor]:
        """The motion levels of the requests, if the network takes them."""
        if "motion_level" not in self.network.conditions:
            return {}
        levels = [USUAL_MOTION_LEVEL if one.motion_level is None else one.motion_level for one in requests]
        return {"motion_level": torch.tensor(levels, dtype=torch.float32, device=self.device)}

    def _condition(self, pictures: Sequence[UInt8[Tensor, "height width 3"]]) -> dict[str, Tensor]:
        """The network's image conditions, with each picture encoded separately; none for a text-to-video model."""
        condition = {}
        if "image_latent" in self.network.conditions:
            images = [picture.permute(2, 0, 1)[None].float() / 127.5 - 1 for picture in pictures]
            condition["image_latent"] = torch.cat([self.space.encode(image) for image in images])
        if self.image is not None and "image_tokens" in self.network.conditions:
            condition["image_tokens"] = torch.cat([self.image(picture[None]) for picture in pictures])
        return condition


def _tell(on_step: OnStep, group: int, groups: int, done: int, of: int) -> None:
    on_step(group * of + done, groups * of)


def _part(model: Path | Weights, part: Part, identity: dict[str, Any]) -> Weights | None:
    """The weights of an encoder, or None for encoders without weights."""
    return find_part(model, part) if has_weights(identity) else None
