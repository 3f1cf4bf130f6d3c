"""An image and a sentence in, a video out: a model folder with its encoders, ready on a device."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from diffusion.errors import InputError, WeightsError
from diffusion.latent_space import LatentSpace, open_latent_space
from diffusion.model_folder import ModelFacts, Part, find_part, load_facts, load_unet
from diffusion.process.sampling import Conditions, OnStep, Sampling, draw_noise, sample, to_frames
from diffusion.process.schedule import Schedule
from diffusion.text import ClipText, HashedText
from diffusion.unet.model import VideoUNet
from diffusion.weights import Weights

TextEncoder = Callable[[list[str]], Tensor]


@dataclass(frozen=True)
class Request:
    """One video wanted. ``fps`` is the frame rate the model is told; by default the middle of its training's."""

    image: UInt8[np.ndarray, "height width 3"]
    prompt: str
    seed: int = 0
    fps: float | None = None


class Generator:
    """A model that generates videos of its own size from images of any.

    A video depends on its request and the sampling alone, not on the others of its batch (on a CPU bit for bit; GPU
    kernels may round otherwise along a batch).
    """

    def __init__(
        self, unet: VideoUNet, facts: ModelFacts, space: LatentSpace, text: TextEncoder, device: torch.device
    ) -> None:
        if unet.config.image_condition != "x-cat":
            raise InputError(
                f"this model's image condition is {unet.config.image_condition}: generating is there for x-cat alone."
            )
        self.unet = unet.to(device).eval()
        self.facts, self.space, self.text, self.device = facts, space, text, device
        self.schedule = Schedule(**facts.schedule)

    @classmethod
    def load(cls, model: Path | Weights, device: torch.device) -> "Generator":
        """Load a model folder with its encoders; WeightsError names what is missing."""
        facts = load_facts(model)
        space = open_latent_space(facts.latents, facts.scaling_factor, _part(model, "vae", facts.latents), device)
        text = open_text_encoder(facts.text, _part(model, "text_encoder", facts.text), device)
        return cls(load_unet(model), facts, space, text, device)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the videos, in pixels."""
        return self.facts.height * self.space.cell, self.facts.width * self.space.cell

    def rate(self, request: Request) -> float:
        """The frame rate of a request's video."""
        return sum(self.facts.fps) / 2 if request.fps is None else request.fps

    def generate(
        self, requests: Sequence[Request], options: Sampling | None = None, on_step: OnStep | None = None
    ) -> UInt8[np.ndarray, "b t h w 3"]:
        """Videos of the requests, sampled together; RGB, 0 to 255. The first frame is the image as the model has it."""
        options = options or Sampling()
        latent = self.space.encode(self._images(requests)).to(self.device)
        texts = self.text([request.prompt for request in requests] + [""])
        given = Conditions(
            text=texts[:-1],
            empty_text=texts[-1:].expand_as(texts[:-1]),
            fps=torch.tensor([self.rate(request) for request in requests], device=self.device),
            image={"image_latent": latent},
        )
        shape = (latent.shape[1], self.facts.frames, *latent.shape[2:])
        noise = draw_noise(shape, [request.seed for request in requests], options.steps if options.eta else 0)
        latents = sample(self.unet, self.schedule, given, noise, options, on_step)
        return to_frames(self.space.decode(latents), self.facts.frames)

    def _images(self, requests: Sequence[Request]) -> Float[Tensor, "b 3 height width"]:
        fitted = np.stack([fit(request.image, *self.size) for request in requests])
        return torch.from_numpy(fitted).permute(0, 3, 1, 2).float().to(self.device) / 127.5 - 1


def fit(
    image: UInt8[np.ndarray, "height width 3"], height: int, width: int
) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """Resize the short side to cover, then centre crop, as videos are when they are preprocessed."""
    scale = max(height / image.shape[0], width / image.shape[1])
    rows, columns = max(height, round(image.shape[0] * scale)), max(width, round(image.shape[1] * scale))
    resized = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    top, left = (rows - height) // 2, (columns - width) // 2
    return np.ascontiguousarray(resized[top : top + height, left : left + width])


def read_image(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """A picture file as upright RGB, or the first frame of a video; InputError where it is neither."""
    if not path.is_file():
        raise InputError(f"image {path}: there is no such file.")
    data = np.frombuffer(path.read_bytes(), np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if decoded is not None:
        return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
    try:
        with av.open(path) as container:
            first = next(container.decode(video=0))
            return np.asarray(first.to_ndarray(format="rgb24"), np.uint8)
    except (av.FFmpegError, IndexError, StopIteration):
        raise InputError(
            f"image {path}: this is no picture or video that can be read. Give a JPEG, PNG, WebP or MP4 file."
        ) from None


def open_text_encoder(identity: dict[str, Any], weights: Weights | None, device: torch.device) -> TextEncoder:
    """States ``[b l d]`` of prompts by the identity of a text encoder, float32, on a device."""
    kind = identity.get("encoder")
    if kind == "HashedText":
        hashed = HashedText(identity["tokens"], identity["width"])
        return lambda prompts: torch.from_numpy(hashed.encode(prompts)).to(device)
    if weights is None or kind is None:
        raise WeightsError(f"text states of '{kind}' cannot be computed: no text encoder is named.")
    tower = ClipText.load(weights, kind, device, torch.float32)
    return lambda prompts: tower(tower.tokens(prompts))


def _part(model: Path | Weights, part: Part, identity: dict[str, Any]) -> Weights | None:
    """The weights of an encoder; the toy's have none."""
    return None if identity.get("encoder") in ("PixelCodec", "HashedText") else find_part(model, part)
