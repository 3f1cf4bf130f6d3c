"""A model's description next to its weights: the contents of ``motif.json``."""

from dataclasses import dataclass, field
from typing import Any, Literal

from base.config import OMITTED_BY_DEFAULT
from base.errors import InputError
from base.weights import Weights
from diffusion.options import USUAL_MOTION_LEVEL, Sampling, SamplingChanges
from diffusion.process import Process

Part = Literal["vae", "text_encoder", "image_encoder"]
FORMAT = 1


@dataclass(frozen=True)
class ModelFacts:
    """The latent space, encoders, process and sizes that a model was trained for.

    ``latents``, ``text`` and ``image`` are the encoders' identities, as a feature dataset records them (``image`` is
    empty if the network takes no image tokens); ``schedule`` is the diffusion process; ``frames``, ``height`` and
    ``width`` are the grid of latents (:attr:`video_frames` those of a video);
    ``fps`` the range of frame rates (of training: 5th to 95th percentile of the clips) and ``usual_fps`` their median,
    which models of earlier versions lack; ``step`` the training step; ``origin`` a line on where the weights come from;
    ``sampling`` the default sampling options; ``motion_bounds``, of a model that takes a motion level, the lowest mean
    SSIM of neighbouring frames among clips of levels 1 to 9.
    """

    latents: dict[str, Any]
    scaling_factor: float
    text: dict[str, Any]
    schedule: Process
    frames: int
    height: int
    width: int
    step: int = 0
    origin: str = ""
    fps: tuple[float, float] = (4.0, 32.0)
    usual_fps: float | None = None
    sampling: Sampling = Sampling()
    image: dict[str, Any] = field(default_factory=dict)
    motion_bounds: tuple[float, ...] = field(default=(), metadata=OMITTED_BY_DEFAULT)

    @property
    def video_frames(self) -> int:
        """Frames of a video: more than ``frames`` if latents compress time, of which the first is one frame."""
        return (self.frames - 1) * self.stride + 1

    @property
    def stride(self) -> int:
        """Frames of each latent after the first."""
        return int(self.latents.get("stride", 1))

    @property
    def default_fps(self) -> float:
        """The default frame rate of a video: the median of the training's, or the middle of the range."""
        return sum(self.fps) / 2 if self.usual_fps is None else self.usual_fps

    @property
    def default_motion_level(self) -> int | None:
        """The default motion level of a video; None for a model that takes none."""
        return USUAL_MOTION_LEVEL if self.motion_bounds else None


@dataclass(frozen=True)
class Base:
    """The model that an adapter belongs to: its place, and the hash of its network's tensors."""

    weights: Weights
    tensors: str


@dataclass(frozen=True)
class ModelCard:
    """The contents of ``motif.json``."""

    facts: ModelFacts
    vae: Weights | None = None
    text_encoder: Weights | None = None
    image_encoder: Weights | None = None
    backbone: str = "videocrafter2"
    """The network's entry in :data:`models.video_model.BACKBONES`; models of earlier versions lack it."""
    format: int = FORMAT
    base: Base | None = None
    """Of an adapter, whose folder has no other tensors of the network; None for a whole network."""


def checked_sampling(facts: ModelFacts, changes: SamplingChanges, model: str) -> Sampling:
    """A model's own sampling options with changes. InputError, which names the model, if they are not supported."""
    try:
        found = changes.of(facts.sampling)
        facts.schedule.check(found)
    except (InputError, ValueError) as error:
        raise InputError(f"{model}: {str(error).rstrip('.')}.") from error
    return found
