"""What a model's videos of the benchmark depend on: it is written into each video, and compared before one is kept."""

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from base.config import to_json
from dataset.identity import digest
from diffusion.options import Sampling, SamplingChanges
from evaluation.bench.dataset import Pair
from evaluation.bench.form import Form, Making, plan_making
from models.card import ModelFacts, checked_sampling
from models.find import Candidate
from models.folder import revision
from models.generator import Precision, Request
from models.tags import model_tags, request_tags

Device = Literal["cpu", "cuda"]
_SEEDS = 2**63  # torch's generators accept no larger ones


@dataclass(frozen=True)
class Options:
    """How the pairs are sampled."""

    seed: int = 0
    """Of every video; it is part of their names."""
    batch: int = 8
    """Pairs sampled together on a GPU, whose rounding depends on it; a CPU takes one at a time."""
    precision: Precision = "float32"
    sampling: SamplingChanges = SamplingChanges()
    form: Form = Form()

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 <= self.seed < _SEEDS:
            raise ValueError(f"seed {self.seed}: must be from 0 to {_SEEDS - 1}")
        if self.batch < 1:
            raise ValueError(f"batch {self.batch}: must be at least 1")


@dataclass(frozen=True)
class Recipe:
    """All that makes a video of an image and a prompt; picklable.

    ``batch`` pairs are sampled together, always the same ones; 1 on a CPU.
    """

    model: Candidate
    revision: str
    making: Making
    sampling: Sampling
    seed: int
    batch: int
    device: Device
    precision: Precision

    @property
    def facts(self) -> ModelFacts:
        """The model's, but for the size of its grid."""
        return replace(self.model.facts, height=self.making.cells, width=self.making.cells)

    def request(self, prompt: str, image: UInt8[np.ndarray, "height width 3"]) -> Request:
        """What the model is asked for."""
        return Request(image, prompt, self.seed, self.making.fps)

    def tags(self, prompt: str, image: str) -> dict[str, str]:
        """What is written into a video's metadata: all that it depends on. ``image`` is its :func:`image_hash`."""
        making, facts = self.making, self.model.facts
        no_pixels = np.zeros((1, 1, 3), np.uint8)  # which tags do not say
        asked = request_tags(self.request(prompt, no_pixels), making.fps)
        clip = f"{making.frames} frames of {making.cells} x {making.cells} cells at {making.fps:g} per second"
        together = f", {self.batch} at once" if self.device == "cuda" else ""
        return (
            model_tags(self.model.name, self.revision, self.sampling)
            | asked
            | {
                "benchmark": "TI2V-Bench",
                "image": image,
                "step": str(facts.step),
                "encoders": digest(facts.latents, facts.scaling_factor, facts.text, facts.image)[:12],
                "process": digest(to_json(facts.schedule))[:12],
                "clip": clip,
                "form": str(making.form),
                "precision": f"{self.precision} on {self.device}{together}",
            }
        )


def make_recipe(model: Candidate, options: Options, device: Device) -> Recipe:
    """The recipe of a model's videos. InputError if the model does not support the options."""
    return Recipe(
        model=model,
        revision=revision(model.weights()),
        making=plan_making(model.facts, options.form, model.name),
        sampling=checked_sampling(model.facts, options.sampling, model.name),
        seed=options.seed,
        batch=options.batch if device == "cuda" else 1,
        device=device,
        precision=options.precision,
    )


def image_hash(data: bytes) -> str:
    """The start of the SHA-256 of an image file."""
    return hashlib.sha256(data).hexdigest()[:12]


def batches(pairs: tuple[Pair, ...], size: int) -> list[tuple[Pair, ...]]:
    """The pairs in groups that only depend on their order, so that an interruption does not change them."""
    return [pairs[first : first + size] for first in range(0, len(pairs), size)]
