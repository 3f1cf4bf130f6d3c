"""The interfaces of video models: a network that predicts, and a backbone that builds such networks.

A new backbone is a folder in this package (see ``patches/``, the smallest) and a line in :data:`BACKBONES`. Trainer,
sampler, validation, estimate and server only use the interfaces here.
"""

import functools
import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from base.errors import InputError
from base.weights import BASE_MODEL
from models.adapters.lora import Lora

CONDITIONS = ("text", "fps", "image_latent", "image_clip", "image_tokens", "motion_level")
"""All conditions of networks: text states ``[b l d]``, frames per second ``[b]``, the latent of the first frame
``[b c h w]``, the latents of that frame followed by empty ones ``[b c t h w]``, an image encoder's tokens of it
``[b n k]``, and how much moves, from 1 to 10 ``[b]``."""

Recompute = Literal["all", "cheap"]
"""What gradient checkpointing recomputes of its units: everything, or what takes few FLOPs (:data:`EXPENSIVE`)."""

EXPENSIVE = frozenset(
    getattr(torch.ops.aten, name)
    for name in (
        *("convolution", "mm", "addmm", "bmm", "baddbmm"),
        "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_cudnn_attention",
    )
)
"""The operations whose outputs are kept if only the cheap rest is recomputed: convolutions, matrix products, attention.
These are all of a network's FLOPs; norms, activations, sums and casts are the rest."""


class VideoModel(nn.Module, ABC):
    """A network that predicts a process's target. It is also a diffusers model, with ``config`` and files.

    ``forward(sample, timestep, **conditions)`` takes noisy latents ``[b c t h w]``, times ``[b]`` of the
    process, and the :attr:`conditions` by name; it returns ``[b c t h w]``.
    """

    config: Any
    adapter: Lora | None = None
    """The adapter that was added to it and is trained in its place (:mod:`models.adapters.attach`)."""
    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Attributes of diffusers' classes, which are untyped."""

    @property
    @abstractmethod
    def conditions(self) -> tuple[str, ...]:
        """Which of :data:`CONDITIONS` it takes; each is then required."""

    @property
    @abstractmethod
    def latent_channels(self) -> int:
        """Channels of a latent."""

    @property
    def takes_image(self) -> bool:
        """Whether it is given the first frame; a text-to-video model is not."""
        return any(name.startswith("image_") for name in self.conditions)

    @property
    def given_frames(self) -> int:
        """How many latents at the clip's start the image gives: they are not predicted, and count in no loss."""
        return 0

    @abstractmethod
    def sharded_units(self) -> Iterator[nn.Module]:
        """The modules whose parameters FSDP gathers together; not nested."""

    def recomputed_units(self) -> Iterator[nn.Module]:
        """The modules that gradient checkpointing recomputes, each as a whole; not nested."""
        return self.sharded_units()

    def condition_units(self) -> Iterator[nn.Module]:
        """The modules whose one input depends on text and image tokens alone; called once a pass, without side effects.

        Their output is the same in every step of sampling: see :mod:`models.kept_conditions`.
        """
        return iter(())

    @classmethod
    def from_config(cls, config: Any, **options: Any) -> "VideoModel":
        """A new network with this config, as in diffusers."""
        made: VideoModel = super().from_config(config, **options)  # type: ignore[misc]
        return made

    def enable_gradient_checkpointing(self, recompute: Recompute = "all") -> None:
        """Save only the inputs of the recomputed units for backward, and recompute the rest.

        With ``cheap``, the outputs of :data:`EXPENSIVE` operations are saved as well, and are not recomputed.
        """
        self.disable_gradient_checkpointing()
        contexts: dict[str, Any] = {"context_fn": _expensive_kept} if recompute == "cheap" else {}
        for unit in self.recomputed_units():
            unit.forward = functools.partial(checkpoint, unit.forward, use_reentrant=False, **contexts)

    def disable_gradient_checkpointing(self) -> None:
        """Save everything that backward needs."""
        for unit in self.recomputed_units():
            vars(unit).pop("forward", None)

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether gradient checkpointing is enabled."""
        return self.recomputes is not None

    @property
    def recomputes(self) -> Recompute | None:
        """What gradient checkpointing recomputes; None if it is not enabled."""
        for unit in self.recomputed_units():
            if "forward" in vars(unit):
                return "cheap" if "context_fn" in vars(unit)["forward"].keywords else "all"
        return None


def _expensive_kept() -> Any:
    """Contexts of forward and recomputation, of which the first keeps the outputs of expensive operations."""
    return create_selective_checkpoint_contexts(_policy)  # type: ignore[no-untyped-call]


def _policy(context: Any, operation: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    del context, args, kwargs
    kept = getattr(operation, "overloadpacket", None) in EXPENSIVE
    return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE


def unwrap(network: nn.Module) -> VideoModel:
    """The model inside a wrapper for data parallelism."""
    return cast(VideoModel, getattr(network, "module", network))


def predict(
    network: nn.Module, sample: Float[Tensor, "b c t h w"], timestep: Tensor, given: Mapping[str, Any]
) -> Float[Tensor, "b c t h w"]:
    """The prediction of a network, wrapped or not, with those of the ``given`` conditions that it takes.

    ValueError names a missing condition.
    """
    names = unwrap(network).conditions
    missing = [name for name in names if given.get(name) is None]
    if missing:
        raise ValueError(f"{', '.join(missing)} is missing: this model is conditioned on it")
    out: Tensor = network(sample, timestep, **{name: given[name] for name in names})
    return out


def with_given_frames(
    network: nn.Module, sampled: Float[Tensor, "b c t h w"], given: Mapping[str, Any]
) -> Float[Tensor, "b c t h w"]:
    """Sampled latents, in which those that the image gives are the image's."""
    frames = unwrap(network).given_frames
    if not frames:
        return sampled
    image = given["image_latent"][:, :, None].to(sampled)
    return torch.cat([image.expand(-1, -1, frames, -1, -1), sampled[:, :, frames:]], dim=2)


@dataclass(frozen=True)
class DataShapes:
    """Shapes that a network must fit: a clip's latent ``c t h w``, text states ``l d``, image tokens ``n k`` if any."""

    latent: tuple[int, int, int, int]
    text: tuple[int, int]
    image: tuple[int, int] | None = None

    def conditions(self, batch: int) -> dict[str, tuple[int, ...]]:
        """The shapes of all available :data:`CONDITIONS` for a batch of clips."""
        channels, _, height, width = self.latent
        image: dict[str, tuple[int, ...]] = {} if self.image is None else {"image_tokens": (batch, *self.image)}
        image |= {"image_latent": (batch, channels, height, width), "image_clip": (batch, *self.latent)}
        return {"text": (batch, *self.text), "fps": (batch,), **image, "motion_level": (batch,)}


@dataclass(frozen=True)
class Backbone(ABC):
    """The network of a recipe: its kind, initial weights and sizes.

    ``start`` is a model folder: of a text-to-video model, which may then learn an image condition, or of a run to
    continue from. Empty: random weights of the given sizes, which are otherwise only used by ``--dry-run``.
    """

    name: ClassVar[str]
    """Its name in :data:`BACKBONES`."""
    any_grid: ClassVar[bool] = False
    """Whether a network also takes latents of other sizes than its model's card says."""
    lora_targets: ClassVar[tuple[str, ...]] = ()
    """The layers that a LoRA adapts unless its recipe names others: the ends of their names."""
    start: str = BASE_MODEL

    @property
    def takes_image_tokens(self) -> bool:
        """Whether the dataset must have image tokens."""
        return False

    @property
    def takes_motion_level(self) -> bool:
        """Whether the dataset must have each clip's mean SSIM, of which motion levels are made."""
        return False

    @property
    def usual_shapes(self) -> DataShapes | None:
        """The data that costs are estimated for if none is given; None: the paper's."""
        return None

    def check(self, shapes: DataShapes) -> None:  # noqa: B027 - most sizes fit any data
        """InputError if a network of these sizes cannot fit the data, without building it."""

    @abstractmethod
    def new(self, shapes: DataShapes) -> VideoModel:
        """A network with random weights that fits the data; on the default device, which may be meta."""

    @abstractmethod
    def summary(self) -> str:
        """A short description for a dry run."""

    def adapt(self, loaded: VideoModel, shapes: DataShapes) -> VideoModel:
        """The initial network of training, from the one in ``start``. May draw from torch's global generator."""
        del shapes
        return loaded

    def misfit(self, config: Mapping[str, Any]) -> str:
        """Why training cannot start from a network with this config.json, as a sentence; empty if it can."""
        del config
        return ""

    @classmethod
    def takes_image(cls, config: Mapping[str, Any]) -> bool:
        """Whether a network with this config.json is given the first frame, as its :attr:`VideoModel.takes_image`."""
        del config
        return True


@dataclass(frozen=True)
class Registered:
    """A backbone's folder in model folders, its network class and its :class:`Backbone`, imported when needed."""

    part: str
    place: str
    backbone: str

    def network(self) -> type[VideoModel]:
        """The class of its networks."""
        return cast(type[VideoModel], _imported(self.place))

    def takes_image(self, config: Mapping[str, Any]) -> bool:
        """Whether a network with this config.json is given the first frame; imports no network."""
        return cast(type[Backbone], _imported(self.backbone)).takes_image(config)


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


BACKBONES = {
    "videocrafter2": Registered(
        "unet", "models.videocrafter2.unet:VideoUNet", "models.videocrafter2.backbone:VideoCrafter2"
    ),
    "patches": Registered(
        "transformer", "models.patches.transformer:PatchTransformer", "models.patches.backbone:Patches"
    ),
    "wan": Registered("transformer", "models.wan.transformer:VideoWan", "models.wan.backbone:Wan"),
}
"""Backbones by their name in ``motif.json``. Folders are named as in diffusers."""


def backbone_of(network: nn.Module) -> str:
    """The name of a network's backbone, wrapped and sharded or not; InputError if it has none."""
    places = {f"{kind.__module__}:{kind.__qualname__}" for kind in type(unwrap(network)).__mro__}
    for name, registered in BACKBONES.items():
        if registered.place in places:
            return name
    raise InputError(
        f"{type(unwrap(network)).__name__} is not registered, so its model could not be loaded again: add a line to "
        "BACKBONES in models/video_model.py."
    )
